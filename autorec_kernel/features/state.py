"""From fitted ops to the `ServingState`: entity tables filled at one moment, and trimmed programs for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from autorec_kernel.features.compute import Fitted, Sides, compute, entity_columns, is_stored, keep
from autorec_kernel.features.entities import ITEM, POSITIVE, USER, USER_KEY
from autorec_kernel.features.specialise import specialised
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.bags import Values
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.program import Program, ReadContext
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import Table

__all__ = ["entity_tables", "serving_state"]


def entity_tables(fitted: Iterable[Fitted], sides: Sides, *, dynamic: bool) -> dict[str, Values]:
    """Return feature name → values of every entity row, for static features or, at the end of the tables, for dynamic ones."""
    found: dict[str, Values] = {}
    for op in fitted:
        for entity in ("user", "item"):
            wanted = [f for f in op.features if f.depends == entity and f.dynamic == dynamic and is_stored(f)]
            if not wanted:
                continue
            columns, rows = entity_columns(entity, op.program.inputs, sides)
            values = compute(op, columns, ReadContext(rows, latest=True))
            found |= {feature.name: keep(values[feature.name], feature) for feature in wanted}
    return found


def serving_state(
    schema: FeatureSchema, fitted: Sequence[Fitted], sides: Sides, static: Mapping[str, Values], events: Table
) -> ServingState:
    """Return the state after `events`.

    Args:
        fitted: Ops whose tables already hold the events.
        static: What `entity_tables(…, dynamic=False)` returned.
        events: Prepared events in order of `@order`.
    """
    users, items = np.asarray(events[USER]), np.asarray(events[ITEM])
    positive = np.asarray(events[POSITIVE]) != 0
    known = np.flatnonzero((users > 0) & (items > 0))
    order = known[np.argsort(users[known], kind="stable")]
    offsets = offsets_of(np.bincount(users[order], minlength=sides.user_ids.size))
    popularity = np.bincount(items[known[positive[known]]], minlength=sides.item_ids.size).astype(np.float32)
    tables = {name: np.asarray(array) for name, array in {**static, **entity_tables(fitted, sides, dynamic=True)}.items()}
    return ServingState(
        schema,
        sides.user_ids,
        sides.item_ids,
        tables,
        _programs(fitted, sides),
        popularity,
        offsets,
        items[order].astype(np.int32),
        positive[order],
        {"user": sides.user, "item": sides.item, "time": sides.time},
        sides.more_users,
        sides.more_items,
    )


def _programs(fitted: Iterable[Fitted], sides: Sides) -> dict[str, tuple[Program, str]]:
    found = {}
    for op in fitted:
        longest = max((feature.width for feature in op.features if feature.kind == "history"), default=1)
        trimmed = specialised(op.program.trimmed(longest), sides)
        for feature, output in zip(op.features, op.program.outputs, strict=True):
            if _is_run(feature):
                found[feature.name] = (_without_users(trimmed) if is_stored(feature) and feature.depends == "user" else trimmed, output)
    return found


def _is_run(feature: Feature) -> bool:
    return feature.depends in ("row", "pair") or feature.kind == "history" or (feature.depends == "user" and feature.dynamic)


def _without_users(program: Program) -> Program:
    """Return the program for given histories only: what its tables know of users is never read, so it is not stored."""
    return replace(program, tables={name: _emptied(t) if _of_users(program, t) else t for name, t in program.tables.items()})


def _of_users(program: Program, table: AsOfTable) -> bool:
    return not {USER, USER_KEY}.isdisjoint(program.sources([table.key]))


def _emptied(table: AsOfTable) -> AsOfTable:
    return replace(table, offsets=np.zeros(2, np.int64), times=table.times[:0], values=table.values[:0])
