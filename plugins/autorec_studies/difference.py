"""What differs between a journal and that of its replay, smallest trial first, said as trial, rung, name and both values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autorec_kernel.search.equality import canonical_records

__all__ = ["Difference", "differences", "key_of"]

_FIRST = ("status", "metrics", "genotype")  # what a reader wants to know before anything else
_Key = tuple[str, int, int]  # kind, trial or batch, rung


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same.

    Args:
        kind: Of the record: batch (a proposal), result (a training), told, run, features, space, finished.
        trial: Number of the trial; None where the record is about none.
        name: Dotted path of the value inside the record; empty when only one journal has the record.
    """

    kind: str
    trial: int | None
    rung: int | None
    name: str
    was: Any
    now: Any

    def __str__(self) -> str:
        place = "" if self.trial is None else f"trial {self.trial}" + ("" if self.rung is None else f", rung {self.rung}")
        what = " ".join(part for part in (_WORDS.get(self.kind, self.kind), self.name) if part)
        return f"{place + ': ' if place else ''}{what} was {_short(self.was)}, is {_short(self.now)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": self.kind, "trial": self.trial, "rung": self.rung, "name": self.name, "was": self.was, "is": self.now}


_WORDS = {"batch": "proposal", "result": "", "told": "batch"}


def key_of(record: Mapping[str, Any]) -> _Key:
    """Return what a record is about, the same in both journals."""
    first = record.get("trial") if record["kind"] == "result" else record.get("batch", -1)
    return str(record["kind"]), int(first if isinstance(first, int) else -1), int(record.get("rung", -1))


def differences(
    first: Iterable[Mapping[str, Any]],
    second: Iterable[Mapping[str, Any]],
    *,
    ignored: Collection[str] = (),
    missing: bool = True,
) -> list[Difference]:
    """Return what differs under the journals' own rule of equality, in the order of the search.

    Args:
        first, second: Records of the original and of the replay.
        ignored: Kinds to leave out.
        missing: Whether a record that only the first journal has is a difference: not while the second is being written.
    """
    was, now = ({key_of(record): record for record in canonical_records(one, ignore_kinds=ignored)} for one in (first, second))
    keys = [key for key in was.keys() | now.keys() if key in now or missing]
    found = [_between(key, was.get(key), now.get(key)) for key in keys if was.get(key) != now.get(key)]
    return sorted(found, key=_order)


def _order(found: Difference) -> tuple[int, int, int]:
    """Return the place of a difference in the search: what it stands on, then proposals before their results, then its end."""
    before = ("run", "features", "space", "skipped")
    if found.trial is None:
        return (-1, before.index(found.kind), 0) if found.kind in before else (1 << 60, 0, 0)
    return found.trial, -1 if found.kind == "batch" else found.rung or 0, 0


def _between(key: _Key, was: Any, now: Any) -> Difference:
    kind, _, rung = key
    record = was or now
    trial = record.get("trial") if kind == "result" else None
    if was is None or now is None:
        trial = trial if kind != "batch" else _first_trial(record["proposals"])
        return Difference(kind, trial, rung if rung >= 0 else None, "", *("there" if one else "missing" for one in (was, now)))
    if kind == "batch":
        return _proposal(was["proposals"], now["proposals"])
    name, before, after = next(_leaves(was, now, ""), ("", was, now))
    return Difference(kind, trial, rung if rung >= 0 else None, name.removeprefix("evaluation."), before, after)


def _proposal(was: list[Any], now: list[Any]) -> Difference:
    """Return the first proposal of a batch that differs; a batch that is shorter lacks its last ones."""
    for before, after in zip(was, now, strict=False):
        if before != after:
            return Difference("batch", before["trial"], None, *next(_leaves(before, after, "")))
    longer = max(was, now, key=len)
    trial = longer[min(len(was), len(now))]["trial"]
    return Difference("batch", trial, None, "", *("there" if one is longer else "missing" for one in (was, now)))


def _first_trial(rows: list[Any]) -> int | None:
    return rows[0]["trial"] if rows else None


def _leaves(was: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        if was != now:
            yield path, was, now
        return
    for name in sorted(was.keys() | now.keys(), key=lambda one: (_FIRST.index(one) if one in _FIRST else len(_FIRST), one)):
        yield from _leaves(was.get(name), now.get(name), f"{path}.{name}" if path else name)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
