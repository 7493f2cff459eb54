"""The serving state as it would stand, in the same terms, had its newest events been kept from it: what later rows are to a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.features.compute import Fitted, Sides, event_columns
from autorec_kernel.features.entities import ITEM, ITEM_KEY, USER, USER_KEY, prepare
from autorec_kernel.features.state import entity_tables, serving_state
from autorec_kernel.records.dataset import CLOCK
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["state_before"]

_MANY = 50  # rows of a vocabulary


def state_before(features: FeatureSet, names: Iterable[str], events: Table, later: Table) -> ServingState:
    """Return the state of the features `names` after `events`, where `features` was fitted on these and `later` ones.

    Scales, vocabularies and rows are those of `features`. As-of tables hold `events` alone, and what occurs in none of them, a text, a
    user, an item, reads as unknown, as does a text that would be too rare there to have a row; what fitting learned of the others
    (factors at the last moment before the end, scales) stays.
    """
    wanted = set(names)
    told, more = (prepare(table, features.entities, features.columns, features.protocol, features.task) for table in (events, later))
    ops = [_before(op, told, more, features.sides) for op in features.fitted if not wanted.isdisjoint(f.name for f in op.features)]
    static = entity_tables(ops, features.sides, dynamic=False)
    return serving_state(features.schema, ops, features.sides, static, told, features.fading.half_life)


def _before(op: Fitted, events: Table, later: Table, sides: Sides) -> Fitted:
    program = op.program
    if program.tables:
        program = program.fold(event_columns(program.columns(), events, sides), anew=True)
    known = {name: np.unique(np.asarray(events[name])) for name in (USER, ITEM) if name in program.inputs}
    for step in program.steps:
        if step.op in ("lookup", "bag"):
            varies = _varies(program.sources([step.output]), sides)
            parts = (events, later) if varies else (events.take(_first_of_each(events)),)
            counts = [_counted(program, step.output, part, sides) for part in parts]
            known[step.output] = _known(*counts) if varies else np.flatnonzero(counts[0])
    end = int(np.asarray(events[CLOCK]).max(initial=0)) if events.rows else 0
    return replace(op, program=_forgetting(program, known, end))


def _counted(program: Program, name: str, events: Table, sides: Sides) -> np.ndarray:
    """Return int64 [rows], how often each row of a vocabulary comes up in a step over some events."""
    columns = event_columns(program.inputs, events, sides)
    found = program.computed([name], columns)[name] if columns and events.rows else np.zeros(0, np.int64)
    return np.bincount(found[found > 0], minlength=1)


def _known(before: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return the rows that a vocabulary of the events before would hold.

    Where many rows come up just as seldom as any does, so often a text has to come up to be given one.
    """
    size = max(len(before), len(later))
    first, rest = (np.concatenate([part, np.zeros(size - len(part), np.int64)]) for part in (before, later))
    counts = (first + rest)[first + rest > 0]
    seldom = int(counts.min(initial=2**62))
    return np.flatnonzero(first >= (seldom if (counts == seldom).sum() >= _MANY else 1))


def _varies(read: Iterable[str], sides: Sides) -> bool:
    """Whether a value is made of columns of the event itself, beside its ids."""
    return any(not name.startswith(("users.", "items.")) and name not in (sides.user, sides.item) for name in read)


def _first_of_each(events: Table) -> np.ndarray:
    """Return one row of each user and of each item."""
    return np.unique(np.concatenate([np.unique(np.asarray(events[key]), return_index=True)[1] for key in (USER_KEY, ITEM_KEY)]))


def _forgetting(program: Program, known: Mapping[str, np.ndarray], end: int) -> Program:
    """Return the program in which rows that are not among the `known` ones of a name are 0, and tables are read at the clock `end`."""
    entities = {name: f"known {name}" for name in program.inputs if name in known}
    steps = [Step("gather", (name,), kept, {"table": f"known.{name}"}) for name, kept in entities.items()]
    for step in program.steps:
        params: dict[str, Any] = dict(step.params)
        if "at_end" in params:
            params["at_end"] = 1 + int(np.searchsorted(program.arrays[params["edges"]], end + 1, side="right"))
        inputs = tuple(entities.get(name, name) for name in step.inputs)
        made = f"any {step.output}" if step.output in known else step.output
        steps.append(Step(step.op, inputs, made, params))
        if made != step.output:
            steps.append(Step("gather", (made,), step.output, {"table": f"known.{step.output}"}))
    arrays = {**program.arrays, **{f"known.{name}": _kept(rows) for name, rows in known.items()}}
    return replace(program, steps=tuple(steps), arrays=arrays)


def _kept(rows: np.ndarray) -> np.ndarray:
    """Return the array [largest row + 1] that leads each of `rows` to itself and every other one to 0; so does what lies outside it."""
    found = np.zeros(int(rows.max(initial=0)) + 1, np.int64)
    found[rows] = rows
    return found
