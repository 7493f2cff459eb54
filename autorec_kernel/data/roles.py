"""Role inference: which event column is the user, the item, the label, the clock, the split; each with the reason shown to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np

from autorec_kernel.data.kinds import Verdict
from autorec_kernel.data.names import ROLE_NAMES, is_split_flag, label_names, normal, words
from autorec_kernel.data.numbers import parse_numbers
from autorec_kernel.data.profile import Profile
from autorec_kernel.data.times import parse_times
from autorec_kernel.errors import UsageError
from autorec_kernel.records.dataset import Task
from autorec_kernel.records.schema import Role
from autorec_kernel.records.table import Coded, ColumnData

__all__ = ["SPLIT_NAMES", "Said", "infer_roles"]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "fit", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "va"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "holdout", "te"), "test"),
}
_ROLE: dict[str, Role] = {"user": "user", "item": "item"}
_SINGLE = ("user", "item", "time", "position", "session", "split")


class Said(NamedTuple):
    """A role and the sentence that explains it."""

    role: Role
    reason: str


class _Search:
    """The columns still without a role; roles are handed out one after the other, the surest first."""

    def __init__(self, raw: Mapping[str, ColumnData], facts: Mapping[str, Profile], given: Mapping[str, str]) -> None:
        self.raw, self.facts = raw, facts
        self.said = {name: Said(cast(Role, role), "you said so") for name, role in given.items()}
        for role in _SINGLE:
            holders = [name for name, held in given.items() if held == role]
            if len(holders) > 1:
                raise UsageError(f"two columns have the role {role!r}: {holders[0]!r} and {holders[1]!r}", hint="name one of them")

    def taken(self, role: str) -> bool:
        return any(said.role == role for said in self.said.values())

    def column(self, role: str) -> str | None:
        return next((name for name, said in self.said.items() if said.role == role), None)

    @property
    def free(self) -> list[str]:
        return [name for name in self.raw if name not in self.said]

    def named(self, names: tuple[str, ...]) -> list[str]:
        """Return free columns whose name is in `names`, best name first; exact spelling wins."""
        found = [(names.index(normal(name)), name != normal(name), name) for name in self.free if normal(name) in names]
        return [name for *_, name in sorted(found)]

    def give(self, name: str, role: Role, reason: str) -> None:
        self.said[name] = Said(role, reason)


def infer_roles(raw: Mapping[str, ColumnData], facts: Mapping[str, Profile], given: Mapping[str, str], task: Task) -> dict[str, Said]:
    """Return a role for every event column.

    Args:
        raw: Raw event columns.
        facts: Their profiles.
        given: Column -> role as the user said; never changed. Several columns may be labels, other roles have one column.
    """
    search = _Search(raw, facts, given)
    _find_split(search)
    for role in ("user", "item"):
        _find_id(search, _ROLE[role])
    _find_session(search)
    _find_by_elimination(search)
    _find_label(search, task)
    _find_time(search)
    _find_position(search)
    _set_aside(search)
    return {name: search.said.get(name, Said("feature", "")) for name in raw}


def split_values(facts: Profile) -> set[str] | None:
    """Return the parts (train, valid, test) that a column names, None when it names anything else."""
    if facts.column is None or not 1 < facts.distinct <= 6:
        return None
    named = {SPLIT_NAMES.get(str(value).strip().lower(), "") for value in facts.column.values}
    return None if "" in named else named


def _find_split(search: _Search) -> None:
    if search.taken("split"):
        return
    names = search.named(ROLE_NAMES["split"]) + search.free
    for name in dict.fromkeys(names):
        parts = split_values(search.facts[name])
        if parts is not None and {"train", "test"} <= parts:
            search.give(name, "split", f"the values name the parts {', '.join(sorted(parts))}")
            return


def _find_id(search: _Search, role: Role) -> None:
    found = [] if search.taken(role) else [name for name in search.named(ROLE_NAMES[role]) if search.facts[name].column is not None]
    if found:
        search.give(found[0], role, f"the name is a usual one for {role}s")


def _find_session(search: _Search) -> None:
    found = [] if search.taken("session") else search.named(ROLE_NAMES["session"])
    if found and not search.taken("user"):
        search.give(found[0], "user", "there is no user column; a session serves as user")
    elif found:
        search.give(found[0], "session", "the name is a usual one for sessions")


def _find_by_elimination(search: _Search) -> None:
    """One of user and item is known and one column is left that ends in `id`; or the table has two columns only."""
    for role, other in (("item", "user"), ("user", "item")):
        ids = [name for name in search.free if normal(name).endswith("id") and search.facts[name].column is not None]
        repeated = [name for name in ids if not search.facts[name].all_different]
        if search.taken(other) and not search.taken(role) and len(repeated) == 1:
            search.give(repeated[0], _ROLE[role], f"the only other id column beside the {other}")
    if len(search.raw) == len(search.free) == 2 and all(search.facts[name].column is not None for name in search.free):
        first, second = search.free
        search.give(first, "user", "the first of two columns")
        search.give(second, "item", "the second of two columns")


def _find_label(search: _Search, task: Task) -> None:
    if search.taken("label"):
        return
    for name in search.named(label_names(task)):
        if task != "recommend" or _all_numbers(search.facts[name]):
            search.give(name, "label", "the name is a usual one for labels")
            return


def _find_time(search: _Search) -> None:
    if search.taken("time"):
        return
    for name in search.named(ROLE_NAMES["time"]):
        found = parse_times(search.raw[name])
        known = search.facts[name].rows - search.facts[name].missing
        if found is not None and found.bad <= 0.01 * known:
            search.give(name, "time", f"the name says time, the values are {found.form}")
            return
    dated = [(name, form) for name in search.free if (form := _dates(search.raw[name])) is not None and not _belongs(search, name)]
    if len(dated) == 1:
        search.give(dated[0][0], "time", f"the only column of dates ({dated[0][1]})")


def _belongs(search: _Search, name: str) -> bool:
    """Return whether every user or every item has one value only: a birthday or a release date, not the time of an event."""
    column = search.facts[name].column
    owners = [search.facts[owner].column for role in ("user", "item") if (owner := search.column(role)) is not None]
    return column is not None and any(_one_each(owner, column) for owner in owners if owner is not None)


def _one_each(owner: Coded, column: Coded) -> bool:
    known = owner.codes >= 0
    pairs = np.sort(owner.codes[known].astype(np.int64) * (len(column.values) + 1) + column.codes[known] + 1)
    distinct = 1 + int((pairs[1:] != pairs[:-1]).sum()) if len(pairs) else 0
    return len(owner.values) < len(pairs) and distinct == len(owner.values)


def _dates(column: ColumnData) -> str | None:
    typed = isinstance(column, Coded) or (isinstance(column, np.ndarray) and column.dtype.kind == "M")
    found = parse_times(column) if typed else None
    return found.form if found is not None and found.dates and found.bad == 0 else None


def _find_position(search: _Search) -> None:
    """A position counts inside one user: it must be whole and rarely repeat there (the rank of an impression repeats)."""
    user = search.column("user")
    if search.taken("position") or user is None:
        return
    for name in search.named(ROLE_NAMES["position"]):
        if _repeats_inside(search.facts[user], search.facts[name]) <= 0.05:
            search.give(name, "position", "whole numbers that order the events of a user")
            return


def _repeats_inside(user: Profile, position: Profile) -> float:
    if user.column is None or position.column is None or not _all_whole(position):
        return 1.0
    known = (user.column.codes >= 0) & (position.column.codes >= 0)
    pairs = user.column.codes[known].astype(np.int64) * (position.distinct + 1) + position.column.codes[known]
    ordered = np.sort(pairs)
    return float((ordered[1:] == ordered[:-1]).mean()) if len(pairs) > 1 else 1.0


def _set_aside(search: _Search) -> None:
    for name in search.free:
        verdict = _bookkeeping(name, search.facts[name])
        if verdict is not None:
            search.give(name, "ignore", f"{verdict.reason}; to use it: --role {name}=feature")


def _bookkeeping(name: str, facts: Profile) -> Verdict | None:
    """Recognise columns that describe the experiment or the file, not the event."""
    if facts.column is None:
        return None
    if is_split_flag(name) and facts.distinct <= 20:
        return Verdict("categorical", "looks like a helper flag of somebody's split, not a property of the event")
    if "weight" in words(name) and words(name) & {"instance", "sample", "row", "case"}:
        return Verdict("numeric", "looks like a sampling weight")
    if facts.all_different and (normal(name).startswith(("unnamed", "column_")) or normal(name) in ("index", "row", "row_id", "level_0")):
        return Verdict("numeric", "looks like a row number")
    return None


def _all_numbers(facts: Profile) -> bool:
    return facts.column is not None and facts.distinct > 0 and bool(parse_numbers(facts.column.values)[1].all())


def _all_whole(facts: Profile) -> bool:
    assert facts.column is not None
    numbers, good = parse_numbers(facts.column.values)
    known = numbers[np.isfinite(numbers)]
    return bool(len(known) > 0 and good.all() and (known == np.floor(known)).all())
