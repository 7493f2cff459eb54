"""When two runs are equal: their records without what may differ between two equal runs, in order of trial and rung."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.search.lines import Record, canonical_json, scan

__all__ = ["VOLATILE", "canonical_records", "compare"]

VOLATILE = frozenset({"crc", "finished", "host", "measured", "pid", "seconds", "seq", "started", "time", "times", "worker"})
"""Keys left out wherever they stand outside `GENUINE`; so is every key that begins with `measured_`."""

GENUINE = frozenset({"architecture", "config", "genotype", "metrics", "space"})
"""Keys whose content is compared whole: a gene may be called `time`."""

Source = str | os.PathLike[str] | Iterable[Mapping[str, Any]]


def canonical_records(source: Source, *, ignore_kinds: Iterable[str] = ()) -> tuple[Record, ...]:
    """Return what equal runs have in common.

    Records whose kind begins with `session` are left out (they tell when a process started, resumed or stopped), as are those of
    `ignore_kinds`. The rest loses its volatile keys and is sorted by trial, rung, kind and content.

    Args:
        source: A journal file, or records. A half-written last line is passed over.
        ignore_kinds: Further kinds to leave out.

    Raises:
        InfrastructureError: The journal cannot be read or is damaged.
    """
    ignored = set(ignore_kinds)
    kept = [
        _stripped(record)
        for record in _records(source)
        if not str(record.get("kind", "")).startswith("session") and record.get("kind") not in ignored
    ]
    return tuple(sorted(kept, key=_place))


def compare(first: Source, second: Source, *, ignore_kinds: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one sentence per difference between two journals; nothing when the runs are equal.

    Args:
        first, second: Journal files, or records.
        ignore_kinds: Kinds to leave out.
    """
    ignored = tuple(ignore_kinds)
    ours, theirs = (canonical_records(source, ignore_kinds=ignored) for source in (first, second))
    return tuple(_difference(place, mine, other) for place, (mine, other) in enumerate(zip_longest(ours, theirs)) if mine != other)


def _records(source: Source) -> Iterable[Mapping[str, Any]]:
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    try:
        found = scan(path.read_bytes(), where=str(path))
    except OSError as error:
        raise InfrastructureError(f"could not read the journal: {error.strerror}", where=str(path)) from error
    if found.damage:
        first = found.damage[0]
        raise InfrastructureError(f"the journal is damaged: {first.reason}", where=f"{path}, line {first.line}")
    return found.records


def _stripped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: part if key in GENUINE else _stripped(part)
            for key, part in value.items()
            if key not in VOLATILE and not key.startswith("measured_")
        }
    return [_stripped(part) for part in value] if isinstance(value, list | tuple) else value


def _place(record: Record) -> tuple[int, int, str, str]:
    trial = record.get("trial", record.get("number"))
    inner = trial if isinstance(trial, Mapping) else {"number": trial, "rung": record.get("rung")}
    return _number(inner.get("number")), _number(inner.get("rung")), str(record.get("kind")), canonical_json(record)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _difference(place: int, mine: Record | None, other: Record | None) -> str:
    if mine is None or other is None:
        extra, which = (mine, "first") if other is None else (other, "second")
        return f"record {place}: only the {which} has {canonical_json(extra)}"
    keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key) or (key in mine) != (key in other))
    told = "; ".join(f"{key}: {canonical_json(mine.get(key))} against {canonical_json(other.get(key))}" for key in keys)
    return f"record {place} (trial {mine.get('trial')}, rung {mine.get('rung')}, {mine.get('kind')}): {told}"
