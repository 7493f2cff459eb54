"""From fitted ops to the `ServingState`: entity tables filled at one moment, and trimmed programs for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.features.compute import Fitted, Sides, entity_columns, is_stored
from autorec_kernel.features.entities import ITEM, POSITIVE, USER
from autorec_kernel.features.lately import interest
from autorec_kernel.features.specialise import specialised
from autorec_kernel.features.values import values_of
from autorec_kernel.records.bags import Values
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.mapped import let_go
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.recent import for_histories, longest
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import ColumnData, Table, stretch

__all__ = ["check_servable", "entity_tables", "serving_state"]

_MORE = ("window", "newest", "since")  # parameters of `as_of` that read events, not states


def entity_tables(fitted: Iterable[Fitted], sides: Sides, *, dynamic: bool) -> dict[str, Values]:
    """Return feature name → values of every entity row, for static features or, at the end of the tables, for dynamic ones."""
    found: dict[str, Values] = {}
    for op in fitted:
        for entity in ("user", "item"):
            wanted = [f for f in op.features if f.depends == entity and f.dynamic == dynamic and is_stored(f)]
            if not wanted:
                continue
            columns, rows = entity_columns(entity, op.program.inputs, sides)

            def block(start: int, stop: int, columns: Mapping[str, ColumnData] = columns) -> dict[str, ColumnData]:
                return {name: stretch(column, start, stop) for name, column in columns.items()}

            found |= values_of(op, wanted, block, rows, latest=True)
    return found


def serving_state(
    schema: FeatureSchema, fitted: Iterable[Fitted], sides: Sides, static: Mapping[str, Values], events: Table, half_life: float = 0.0
) -> ServingState:
    """Return the state after `events`.

    Args:
        fitted: Ops whose tables already hold the events.
        static: What `entity_tables(…, dynamic=False)` returned.
        events: Prepared events in order of `@order`.
        half_life: Of the popularity that strangers are answered with (ns); 0 = it does not fade.

    Raises:
        ContractError: A feature cannot be served (`check_servable`).
    """
    users, items = np.asarray(events[USER]), np.asarray(events[ITEM])
    positive = np.asarray(events[POSITIVE]) != 0
    known = np.flatnonzero((users > 0) & (items > 0))
    order = known[np.argsort(users[known], kind="stable")]
    offsets = offsets_of(np.bincount(users[order], minlength=sides.user_ids.size))
    values, programs = dict(static), dict[str, tuple[Program, str]]()
    for op in fitted:
        values |= entity_tables([op], sides, dynamic=True)
        programs |= _programs([op], sides)
        let_go(op.program.stored().values())
        del op  # before the next one is made
    tables = {name: np.asarray(array) for name, array in values.items()}
    return ServingState(
        schema,
        sides.user_ids,
        sides.item_ids,
        tables,
        programs,
        interest(events, sides.item_ids.size, half_life),
        offsets,
        items[order].astype(np.int32),
        positive[order],
        {"user": sides.user, "item": sides.item, "time": sides.time},
        sides.more_users,
        sides.more_items,
    )


def check_servable(op: Fitted) -> None:
    """Refuse an op of which serving would give other values than training.

    User and item features are computed ahead from whole tables. Row, pair and history features are computed when asked, from the latest
    state of each key alone: it tells nothing of a window, of the newest events, or of when an event was.

    Raises:
        ContractError: A step that such a feature is made of asks for one of these.
    """
    for feature, output in zip(op.features, op.program.outputs, strict=True):
        for step in _steps_to(op.program, output) if _is_asked(feature) else ():
            more = next((name for name in _MORE if step.op == "as_of" and name in step.params), "")
            if more:
                raise ContractError(
                    f"{feature.name!r} depends on {feature.depends} and is made of step {step.output!r}, an as_of with {more!r}: "
                    "serving holds the latest state of that table and not its events",
                    where=f"feature op {feature.op!r}",
                    hint=f"read the table without {more!r}, or give the step's value as a user or item feature, which is computed ahead",
                )


def _programs(fitted: Iterable[Fitted], sides: Sides) -> dict[str, tuple[Program, str]]:
    found = {}
    for op in fitted:
        check_servable(op)
        trimmed = specialised(op.program.trimmed(longest(op.program)), sides)
        for feature, output in zip(op.features, op.program.outputs, strict=True):
            if _is_asked(feature) or (feature.depends == "user" and feature.dynamic):
                found[feature.name] = (trimmed if _is_asked(feature) else for_histories(trimmed), output)
    return found


def _is_asked(feature: Feature) -> bool:
    """Whether a value is computed when it is asked for; those of user and item features are computed ahead."""
    return feature.depends in ("row", "pair") or not is_stored(feature)


def _steps_to(program: Program, output: str) -> list[Step]:
    """Return the steps that a value is made by, the last one first."""
    wanted, found = {output}, []
    for step in reversed(program.steps):
        if step.output in wanted:
            found.append(step)
            wanted |= set(step.inputs)
    return found
