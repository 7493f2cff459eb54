"""Which protocol judges the data, and the part of every row under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from autorec_kernel.data import splits
from autorec_kernel.data.events import Events
from autorec_kernel.data.hashing import row_hash
from autorec_kernel.data.roles import SPLIT_NAMES
from autorec_kernel.errors import DataError, UnknownNameError, UsageError
from autorec_kernel.records.dataset import MISSING_TIME, SHARES, Protocol, Task

__all__ = ["GONE", "PROTOCOLS", "choose_protocol", "settle_protocol", "split_events"]

PROTOCOLS = ("given", "temporal", "leave-one-out", "random")
_TIES = 0.05  # leave-one-out takes the place of another protocol where at most this share of the events is tied inside its user
GONE = -1  # part of a row that was dropped as a repetition


def settle_protocol(
    events: Events,
    task: Task,
    *,
    wanted: str | None,
    deduplicate: str | None,
    threshold: float | None,
    seed: int,
    session: bool,
    shares: tuple[float, float, float] | None = None,
) -> tuple[Protocol, np.ndarray, list[str]]:
    """Choose and split; a protocol nobody asked for that cannot be made gives way to leave-one-out or random, with a note.

    A split column of the data counts as asked for.

    Returns:
        The protocol, int8 [n] the part of every row, and notes for the report.

    Raises:
        UsageError: An unknown protocol or deduplication.
        DataError: The wanted protocol, or every possible one, leaves a part empty.
    """

    def chosen(name: str | None) -> tuple[Protocol, np.ndarray]:
        options: dict[str, Any] = {"deduplicate": deduplicate, "threshold": threshold, "seed": seed, "session": session, "shares": shares}
        protocol = choose_protocol(events, task, wanted=name, **options)
        return protocol, split_events(events, protocol, task, session=session)

    first, _ = _split(events, wanted)
    if wanted is not None or first == "given":
        return *chosen(wanted), []
    told = ""
    for name in _next_ones(events, first):
        try:
            protocol, part = chosen(None if name == first else name)
        except DataError as error:
            told, fault = told or error.message, error
            continue
        return (protocol, part, []) if name == first else _instead(protocol, part, first, told)
    raise fault


def choose_protocol(
    events: Events,
    task: Task,
    *,
    wanted: str | None,
    deduplicate: str | None,
    threshold: float | None,
    seed: int,
    session: bool,
    shares: tuple[float, float, float] | None = None,
) -> Protocol:
    """Return the protocol: the wanted one, else the first that the columns allow: given, temporal, leave-one-out, random.

    Args:
        session: A session serves as user.
        shares: Of training, validation and test rows of a random split; None = the usual ones.

    Raises:
        UsageError: An unknown protocol or deduplication, or shares for a split that is not random.
        DataError: The wanted protocol needs a column that is not there.
    """
    split, reason = _split(events, wanted)
    if deduplicate not in (None, "none", "last"):
        raise UnknownNameError("deduplication", str(deduplicate), ("none", "last"), hint="choose none or last")
    unique = _default_deduplicate(events, task, split, session) if deduplicate is None else deduplicate
    if unique == "last" and not {"user", "item"} <= set(events.names):
        raise UsageError("deduplicate=last needs a user and an item column", hint="use deduplicate=none")
    if shares is not None and split != "random":
        raise UsageError(f"shares cut a random split, and this one is {split}", hint="add --protocol random, or leave the shares out")
    return Protocol(
        split=split,  # type: ignore[arg-type]
        clock=events.kind,
        state="cut" if task == "recommend" else "rolling",
        deduplicate="last" if unique == "last" else "none",
        positive_threshold=threshold,
        target="last" if _judges_last(events, task, split, session) else "all",
        seed=seed,
        reason=reason,
        shares=shares or SHARES,
    )


def split_events(events: Events, protocol: Protocol, task: Task, *, session: bool) -> np.ndarray:
    """Return int8 [n]: the part of every row (`GONE` = a repetition that was dropped).

    Raises:
        DataError: A part would be empty.
    """
    out = np.full(len(events.rows), GONE, dtype=np.int8)
    early = protocol.deduplicate == "last" and protocol.split in ("leave-one-out", "random")
    kept = np.flatnonzero(~_repeats(events)) if early else np.arange(len(events.rows))
    out[kept] = _parts(_narrow(events, kept), protocol, session=session)
    if protocol.deduplicate == "last" and not early:
        out = _unique_in_parts(events, out, judged_once=task == "recommend")
    _check_parts(out, protocol)
    return out


def _split(events: Events, wanted: str | None) -> tuple[str, str]:
    possible = {
        "given": "there is a split column" if "split" in events.names else "",
        "temporal": "the time of at least 99 % of the rows is known" if events.kind == "time" else "",
        "leave-one-out": "the order inside each user is known" if events.kind != "none" and "user" in events.names else "",
        "random": "there is neither a split column, nor a known time or position for 99 % of the rows",
    }
    if wanted is None:
        chosen = next(name for name in PROTOCOLS if possible[name])
        return chosen, possible[chosen]
    if wanted not in PROTOCOLS:
        raise UnknownNameError("protocol", wanted, PROTOCOLS, hint=f"choose one of {', '.join(PROTOCOLS)}")
    if not possible[wanted]:
        needs = {
            "given": "a split column (values train, test and optionally valid)",
            "temporal": "a time column, known for at least 99 % of the rows",
            "leave-one-out": "a user column and a time or position column, known for at least 99 % of the rows",
        }[wanted]
        told = next(name for name in PROTOCOLS if possible[name])
        hint = f"--role COLUMN=ROLE names such a column; --protocol {told} works as it is"
        raise DataError(f"protocol {wanted!r} needs {needs}", hint=hint)
    return wanted, "you said so"


def _next_ones(events: Events, first: str) -> list[str]:
    """Return the protocols to try in turn; leave-one-out only where hardly any event of a user is tied with another one."""
    after = PROTOCOLS[PROTOCOLS.index(first) + 1 :]
    return [first, *(name for name in after if name != "leave-one-out" or _ordered_inside(events))]


def _ordered_inside(events: Events) -> bool:
    user, position = events.ids("user"), events.array("position")
    if user is None or events.kind == "none":
        return False
    keys = (user.codes, events.clock, position if position is not None else np.zeros_like(events.clock))
    sort = np.lexsort(keys)
    tied = np.logical_and.reduce([key[sort][1:] == key[sort][:-1] for key in keys])
    return bool(tied.mean() <= _TIES) if len(tied) else False


def _instead(protocol: Protocol, part: np.ndarray, first: str, told: str) -> tuple[Protocol, np.ndarray, list[str]]:
    reason = f"the columns suit {first!r}, which cannot be made ({told}), so {protocol.split!r} takes its place"
    return replace(protocol, reason=reason), part, [f"protocol: {reason}"]


def _default_deduplicate(events: Events, task: Task, split: str, session: bool) -> str:
    both = {"user", "item"} <= set(events.names)
    if not both or session or split == "given" or task == "click":
        return "none"
    return "last" if _repeats(events).mean() <= 0.5 else "none"  # where most events repeat, repetition is the signal


def _judges_last(events: Events, task: Task, split: str, session: bool) -> bool:
    """Test sessions that training never saw are judged on their last event given the ones before."""
    user = events.ids("user")
    if task != "recommend" or events.kind == "none" or user is None:
        return False
    if split == "given":
        part = _given(events)
        seen = np.zeros(len(user.values) + 1, dtype=bool)
        seen[user.codes[part != splits.TEST]] = True
        tested = np.bincount(user.codes[part == splits.TEST], minlength=len(seen)) > 0
        return bool(tested.any() and seen[tested].mean() < 0.01)
    return session and split == "temporal"


def _parts(events: Events, protocol: Protocol, *, session: bool) -> np.ndarray:
    user = events.ids("user")
    if protocol.split == "given":
        part = _given(events)
        return part if (part == splits.VALID).any() else _with_valid(events, part, protocol)
    if protocol.split == "temporal":
        if protocol.target == "last" and session:
            return _with_valid(events, splits.temporal(events.clock, last_for_valid=True), protocol)
        return splits.temporal(events.clock)
    if user is None:
        return splits.random_rows(_keys(events, protocol.seed), protocol.shares)
    if protocol.split == "leave-one-out":
        return splits.leave_one_out(user.codes, events.order, events.clock != MISSING_TIME)
    return splits.random_within(user.codes, _keys(events, protocol.seed), row_hash([user], len(user), protocol.seed), protocol.shares)


def _given(events: Events) -> np.ndarray:
    column = events.ids("split")
    assert column is not None
    places = {"train": splits.TRAIN, "valid": splits.VALID, "test": splits.TEST}
    named = [SPLIT_NAMES.get(str(value).strip().lower()) for value in column.values]
    unknown = [str(value) for value, part in zip(column.values, named, strict=True) if part is None]
    name = events.names["split"]
    if unknown or (column.codes < 0).any():
        told = f"{unknown[0]!r}" if unknown else "an empty value"
        raise DataError(f"split column {name!r} holds {told}", hint=f"use train, valid and test, or --role {name}=ignore")
    return np.asarray(np.array([places[str(part)] for part in named], dtype=np.int8)[column.codes])


def _with_valid(events: Events, part: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Give the last training row of each user (of users with at least two) to validation; without users, a tenth of the rows."""
    user, train = events.ids("user"), part == splits.TRAIN
    if user is not None and events.kind != "none":
        chosen = splits.last_of_each(user.codes, events.order, train)
        return np.where(chosen, splits.VALID, part).astype(np.int8)
    keys = _keys(events, protocol.seed)
    if user is not None:
        chosen = splits.last_of_each(user.codes, np.argsort(np.argsort(keys, kind="stable"), kind="stable"), train)
    else:
        chosen = np.zeros(len(part), dtype=bool)
        chosen[np.flatnonzero(train)[splits.random_rows(keys[train]) == splits.TEST]] = True
    return np.where(chosen, splits.VALID, part).astype(np.int8)


def _keys(events: Events, seed: int) -> np.ndarray:
    """Return uint64 [n] content hashes: of user, item, label and clock, or of every column where there is no user and item."""
    roles = ("user", "item", "label", "time", "position")
    whole = not {"user", "item"} <= set(events.names)
    names = sorted(events.table) if whole else [events.names[role] for role in roles if role in events.names]
    return row_hash([events.table[name] for name in names], len(events.rows), seed)


def _repeats(events: Events) -> np.ndarray:
    user, item = events.ids("user"), events.ids("item")
    assert user is not None and item is not None
    return splits.repeated(user.codes, item.codes, events.order)


def _unique_in_parts(events: Events, part: np.ndarray, *, judged_once: bool) -> np.ndarray:
    """Keep the last of each pair inside a part (a later part never changes an earlier one); a pair already seen is not judged again."""
    user, item = events.ids("user"), events.ids("item")
    assert user is not None and item is not None
    pair = user.codes.astype(np.int64) * len(item.values) + item.codes
    out = part.copy()
    for place in (splits.TRAIN, splits.VALID, splits.TEST):
        rows = np.flatnonzero(part == place)
        out[rows[splits.repeated(user.codes[rows], item.codes[rows], events.order[rows])]] = GONE
        if judged_once and place != splits.TRAIN:
            out[rows[np.isin(pair[rows], pair[(part >= 0) & (part < place)])]] = GONE
    return out


def _narrow(events: Events, rows: np.ndarray) -> Events:
    if len(rows) == len(events.rows):
        return events
    return replace(events, table=events.table.take(rows), rows=events.rows[rows], clock=events.clock[rows], order=events.order[rows])


def _check_parts(part: np.ndarray, protocol: Protocol) -> None:
    for place, name in ((splits.TRAIN, "train"), (splits.VALID, "valid"), (splits.TEST, "test")):
        if not (part == place).any():
            hints = {
                "leave-one-out": "it needs users with at least 3 events; try --protocol random",
                "random": "it needs users with at least 3 events; give more events",
                "temporal": "try --protocol leave-one-out or --protocol random",
                "given": "mark rows of this part in the split column, or choose another --protocol",
            }
            raise DataError(f"protocol {protocol.split!r} leaves no {name} rows", hint=hints[protocol.split])
