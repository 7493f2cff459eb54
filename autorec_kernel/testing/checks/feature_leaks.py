"""The law of time: changing any event at or after t changes nothing that is read at t (numpy).

Later events are poisoned so that every column keeps its values as a whole: scales, priors and vocabularies of the training view stay
what they are, while item means, histories, counts and label-ordered vocabularies give themselves away.

An op that decides something in `fit` may decide otherwise when later events change: it is fitted with its decisions written down (its
attribute `config`), and without them, where a feature may be absent, but none may have other values. Combinations of columns come and
go with the rows that hold them, so that a vocabulary of combinations may be numbered anew when one of its own columns is poisoned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.features.compare import affine, monotone, renamed
from autorec_kernel.features.compute import Fitted
from autorec_kernel.records.dataset import CLOCK, ORDER
from autorec_kernel.records.features import Feature
from autorec_kernel.records.table import Coded, Ragged, Table, take_column
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, read, reads, settings_for, world
from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.violation import demand

__all__ = [
    "check_folding_changes_no_past",
    "check_future_changes_no_past",
    "check_own_future_changes_no_past",
    "check_unused_values_teach_nothing",
]

_CUTS = (0.35, 0.6, 0.85)
_PREFIXES = {"users.", "items."}
_SIDES = {"user_id": ("users.", "@user"), "item_id": ("items.", "@item")}
_Poison = tuple[str, bool, frozenset[str], Callable[[Table, np.ndarray], Table]]


def check_future_changes_no_past(component: Any, config: Any, kernel: Any = None) -> None:
    """With a global clock, no output read at t depends on any event at or after t; events of equal time do not see each other."""
    for task in (task for clock, task in settings_for(component, config) if clock == "time"):
        place = world(example_dataset("time", task), task)
        clock, order = np.asarray(place.dataset.train[CLOCK]), np.asarray(place.dataset.train[ORDER])
        for share in _CUTS:
            at = int(share * len(clock))
            for kinds, late, early in (
                (("id", "bag", "numeric"), clock >= clock[at], clock <= clock[at]),
                (("history",), order >= order[at], order <= order[at]),
            ):
                _compare(component, config, place, late, early, lambda f, kinds=kinds: f.kind in kinds)  # type: ignore[misc]


def check_own_future_changes_no_past(component: Any, config: Any, kernel: Any = None) -> None:
    """With a clock inside one user only, what is read of a user at a position depends on none of the user's later events."""
    if ("position", "recommend") not in settings_for(component, config):
        return
    place = world(example_dataset("position", "recommend"), "recommend")
    train = place.dataset.train
    users, position = np.asarray(train["user_id"].codes), np.asarray(train[CLOCK])  # type: ignore[union-attr]
    for user in np.argsort(-np.bincount(users))[:3]:
        middle = int(np.bincount(users)[user] // 2)
        own = users == user
        late, early = own & (position >= middle), own & (position <= middle)
        _compare(component, config, place, late, early, lambda f: f.depends == "user" or f.kind == "history")


def check_folding_changes_no_past(component: Any, config: Any, kernel: Any = None) -> None:
    """Folding validation and test events into the program's tables changes no value of an earlier row."""
    if not any(clock == "time" for clock, _ in settings_for(component, config)):
        return
    dataset = example_dataset("time", "rate")
    clock = np.asarray(dataset.train[CLOCK])
    before = clock < clock[int(0.6 * len(clock))]
    place = world(dataset, "rate", dataset.train.take(np.flatnonzero(before)))
    try:
        _, fitted = fitted_on(component, config, place)
    except RejectColumn:
        return
    rest = world(dataset, "rate").events.take(np.flatnonzero(~before))
    known = place.entities.users.rows_of_column(rest["user_id"]), place.entities.items.rows_of_column(rest["item_id"])  # type: ignore[arg-type]
    rest = rest.with_columns({"@user": known[0], "@item": known[1], "@user_key": known[0], "@item_key": known[1]})
    folded = Fitted(fitted.features, fitted.program.fold(rest))
    changed = first_difference(list(leaves(read(fitted, place))), list(leaves(read(folded, place))))
    demand(changed is None, f"folding later events changes what was read before them: feature {changed}")


def check_unused_values_teach_nothing(component: Any, config: Any, kernel: Any = None) -> None:
    """A text column may list values that no training row holds (of validation or test rows): they enter no vocabulary."""
    plain = world(example_dataset("time", "rate"), "rate")
    wider = replace(
        plain,
        events=_with_unused(plain.events),
        tables={name: _with_unused(table) for name, table in plain.tables.items()},
    )
    try:
        told = [_stored(fitted_on(component, config, place)[1]) for place in (plain, wider)]
    except RejectColumn:
        return
    demand(first_difference(*told) is None, f"values that no training row holds change the program: {first_difference(*told)}")


def _compare(component: Any, config: Any, place: World, late: np.ndarray, early: np.ndarray, wanted: Callable[[Feature], bool]) -> None:
    try:
        op, fitted = fitted_on(component, config, place)
    except RejectColumn:
        return
    features = [feature for feature in fitted.features if wanted(feature)]
    if not features:
        return
    train, rows = place.dataset.train, np.flatnonzero(early)
    expected = _values(op, fitted, place, train, rows, ~late)
    written = _written(op, config)
    for name, strict, columns, poison in _poisons(train):
        changed = world(replace(place.dataset, train=poison(train, late)), place.task)
        for stated in (config,) if written == config else (config, written):
            try:
                new_op, new = fitted_on(component, stated, changed)
            except RejectColumn:
                continue
            found = _values(new_op, new, changed, train, rows, ~late)
            for feature in features:
                if feature.name not in found and stated != written:
                    continue
                loose = _is_joint(fitted, feature, columns)
                kept = feature.name in found and _agree(feature, expected[feature.name], found[feature.name], strict, loose)
                demand(kept, f"feature {feature.name!r} read at t changes when later events get {name}: it leaks the future ({place.task})")


def _written(op: Any, config: Any) -> Any:
    """Return the config with the op's decisions written down, where it has one."""
    stated = getattr(op, "config", None)
    return stated if isinstance(stated, ComponentConfig) else config


def _is_joint(fitted: Fitted, feature: Feature, poisoned: Collection[str]) -> bool:
    """Return whether a feature is an id of several columns together, one of which is poisoned."""
    read = reads(fitted, feature.name)
    touched = {*poisoned, *(key for name in poisoned for key in _SIDES.get(name, ()))}
    return feature.kind == "id" and len(read) > 1 and any(name in touched or name.startswith(tuple(touched & _PREFIXES)) for name in read)


def _values(op: Any, fitted: Fitted, place: World, train: Table, rows: np.ndarray, untouched: np.ndarray) -> dict[str, np.ndarray]:
    """Return what early rows read: from the program for the original rows, from `training_values` for rows that are the same in both."""
    found = read(fitted, place, rows, events=train)
    training = op.training_values(place.events)
    same = rows[untouched[rows]]
    return {**found, **{name: np.asarray(values)[same] for name, values in (training or {}).items()}}


def _poisons(train: Table) -> Iterator[_Poison]:
    """Yield (what later events get, whether values must stay exact, columns that change, poison)."""
    for name in train:
        if name not in (ORDER, CLOCK, "timestamp"):
            yield f"other values of {name!r}", True, frozenset({name}), lambda table, late, name=name: _rolled(table, late, (name,))  # type: ignore[misc]
    several = ("user_id", "item_id", "rating")
    yield "other users, items and labels", True, frozenset(several), lambda table, late: _rolled(table, late, several)
    for name in ("item_id", "user_id"):
        yield f"one and the same {name!r}", False, frozenset({name}), lambda table, late, name=name: _flooded(table, late, name)  # type: ignore[misc]


def _rolled(table: Table, late: np.ndarray, names: tuple[str, ...]) -> Table:
    rows = np.flatnonzero(late)
    columns = {}
    for shift, name in enumerate(names, 1):
        source = np.arange(table.rows)
        source[rows] = np.roll(rows[::-1], 3 * shift)
        columns[name] = take_column(table[name], source)
    return table.with_columns(columns)


def _flooded(table: Table, late: np.ndarray, name: str) -> Table:
    column = table[name]
    assert isinstance(column, Coded)
    return table.with_columns({name: Coded(np.where(late, column.codes[0], column.codes).astype(np.int32), column.values).compact()})


def _agree(feature: Feature, old: np.ndarray, new: np.ndarray, strict: bool, joint: bool) -> bool:
    if feature.kind != "numeric":
        if joint and strict:
            return renamed(old, new)
        return np.array_equal(old, new) if strict else True  # floods move rows of vocabularies
    if old.shape != new.shape:
        return False
    pairs = zip(np.reshape(old, (len(old), -1)).T, np.reshape(new, (len(new), -1)).T, strict=True)
    return all(affine(a, b) if strict else monotone(a, b) for a, b in pairs)


def _with_unused(table: Table) -> Table:
    return Table({name: _padded(column) for name, column in table.items()}, table.rows)


def _padded(column: Any) -> Any:
    if isinstance(column, Ragged):
        return Ragged(_padded(column.values), column.offsets) if isinstance(column.values, Coded) else column
    if not isinstance(column, Coded):
        return column
    more = np.empty(2, dtype=object)
    more[:] = ["!first of a later split", "~last of a later split"]
    return Coded((column.codes + np.where(column.codes >= 0, 1, 0)).astype(np.int32), np.concatenate([more[:1], column.values, more[1:]]))


def _stored(fitted: Fitted) -> list[tuple[str, str]]:
    return list(leaves([fitted.features, fitted.program.to_json(), fitted.program.stored()]))
