"""Values that are computed when asked: histories, pair features, and features of other items at a row's moment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autorec_kernel.features.compute import Fitted, Sides, event_columns
from autorec_kernel.features.entities import ITEM, ITEM_KEY, USER, USER_KEY
from autorec_kernel.features.parts import Part
from autorec_kernel.records.bags import same_width
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.serving_state import typed
from autorec_kernel.records.table import Coded, ColumnData, Table, take_column

__all__ = ["values_at", "with_own"]


def values_at(
    feature: Feature,
    op: Fitted,
    part: Part,
    rows: np.ndarray,
    sides: Sides,
    *,
    items: np.ndarray | None,
    latest: bool,
    lengths: Mapping[str, int],
) -> np.ndarray:
    """Run the op's program at events of a part.

    Args:
        rows: int64 [n], positions in the part.
        items: int64 [n] item rows that replace the events' own; None = their own.
        latest: Read tables at their end instead of strictly before the events.
        lengths: Feature name → steps of a history.
    """
    wanted = {*op.program.inputs, USER, ITEM, USER_KEY, ITEM_KEY}
    columns: dict[str, ColumnData] = {name: take_column(part.events[name], rows) for name in wanted if name in part.events}
    if items is not None:
        columns[ITEM] = columns[ITEM_KEY] = items
        if sides.item in columns:
            texts = np.array([*sides.item_ids.ids_of(np.arange(1, sides.item_ids.size)), None], dtype=object)[:-1]
            columns[sides.item] = Coded((items - 1).astype(np.int32), texts)
    columns = event_columns(op.program.inputs, Table(columns, len(rows)), sides)
    output = op.output(feature.name)
    steps = {output: lengths[feature.name]} if feature.name in lengths else {}
    found = run_program(op.program, columns, ReadContext(len(rows), latest=latest, lengths=steps))
    return typed(np.asarray(found[output]), feature)


def with_own(value: np.ndarray, feature: Feature, part: Part, rows: np.ndarray, items: np.ndarray | None) -> np.ndarray:
    """Return the values with those of training rows where the item is the row's own: out of fold where there is no clock."""
    if items is None or feature.name not in part.values:
        return value
    own = part.ints(ITEM)[rows] == items
    stored, value = same_width([part.values[feature.name][rows], value])
    return typed(np.where(own.reshape(-1, *[1] * (value.ndim - 1)), stored, value), feature)
