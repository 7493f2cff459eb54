"""The values of an op's features on many rows, block after block: memory holds them, or a file does, and not what led to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from autorec_kernel.features.compute import Fitted, compute
from autorec_kernel.features.shelf import Shelf, Sink
from autorec_kernel.records.bags import Values
from autorec_kernel.records.blocks import stretches
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import ReadContext
from autorec_kernel.records.table import ColumnData

__all__ = ["Places", "values_of"]

Columns = Callable[[int, int], Mapping[str, ColumnData]]


class Places:
    """Where the moments of the same rows fall in as-of tables of the same events: searched once for all ops.

    Args:
        shelf: Holds the arrays of those tables.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._blocks: dict[int, dict[tuple[int, int], dict[Any, np.ndarray | None]]] = {}

    def of(self, start: int) -> dict[tuple[int, int], dict[Any, np.ndarray | None]]:
        """Return what is known of the block from row `start` on: the tables' arrays → columns → int32 or int64 [rows]."""
        known = self._blocks.setdefault(start, {})
        for pair in self._shelf.held:
            known.setdefault(pair, {})
        return known


def values_of(
    op: Fitted,
    wanted: Iterable[Feature],
    columns: Columns,
    rows: int,
    *,
    latest: bool = False,
    shelf: Shelf | None = None,
    places: Places | None = None,
) -> dict[str, Values]:
    """Return feature name → values of all rows, as they are kept.

    Args:
        op: Whose program is run.
        columns: (start, stop) → what the program reads of these rows.
        latest: Read tables at their end instead of strictly before the rows.
        shelf: Where the values go; None = memory.
        places: Of these very rows.

    Raises:
        ContractError: A value has the wrong shape, type or range.
    """
    shelf = shelf or Shelf()
    sinks = {feature.name: Sink(shelf, feature, rows) for feature in wanted}
    for start, stop in stretches(rows):
        context = ReadContext(stop - start, latest=latest, places=None if places is None else places.of(start))
        found = compute(op, columns(start, stop), context)
        for name, sink in sinks.items():
            sink.add(found[name], start)
    return {name: sink.close() for name, sink in sinks.items()}
