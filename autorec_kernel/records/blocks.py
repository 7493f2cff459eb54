"""Long columns a stretch at a time: what is worked out row by row fits the caches, and memory holds results and not what led to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from autorec_kernel.records.table import stretch

__all__ = ["BLOCK", "in_blocks", "stretches"]

BLOCK = 1 << 16  # rows


def stretches(rows: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of blocks that hold all rows; one empty block where there is none."""
    yield from ((start, min(start + BLOCK, rows)) for start in range(0, max(rows, 1), BLOCK))


def in_blocks(run: Callable[[dict[str, Any], int], dict[str, Any]], columns: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return what `run` gives for all rows, an array each; at once where there are few, or where a value is no array.

    Args:
        run: (columns, number of rows) → name → value; a row's value depends on that row alone.
        columns: Name → column of `rows` rows.
    """
    found: dict[str, Any] = {}
    for start, stop in stretches(rows):
        part = run(
            {name: stretch(column, start, stop) for name, column in columns.items()} if rows > BLOCK else dict(columns), stop - start
        )
        if rows <= BLOCK:
            return part
        if not all(isinstance(value, np.ndarray) for value in part.values()):
            return run(dict(columns), rows)
        for name, value in part.items():
            found.setdefault(name, np.empty((rows, *value.shape[1:]), value.dtype))[start:stop] = value
    return found
