"""Values of event rows that may lie in several splits, gathered from each split: what is memory-mapped is never copied whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.features.shelf import release as release_values
from autorec_kernel.records.bags import same_width

if TYPE_CHECKING:
    from autorec_kernel.features.parts import Part

__all__ = ["Piece", "gathered", "pieces_of", "release", "whole"]

Piece = tuple[str, np.ndarray, np.ndarray]  # split, row numbers inside it, places among the rows asked for


def pieces_of(parts: Mapping[str, Part], rows: np.ndarray) -> list[Piece]:
    """Return where rows int64 [A] lie: numbered one split after the other.

    Raises:
        UsageError: There is no such row.
    """
    low, high = (int(rows.min()), int(rows.max())) if len(rows) else (0, -1)  # no rows lie in the first split
    first, found = 0, []
    for split, part in parts.items():
        last = first + part.rows
        if first <= low and high < last:
            return [(split, rows - first, np.arange(len(rows)))]
        inside = np.flatnonzero((rows >= first) & (rows < last))
        if len(inside):
            found.append((split, rows[inside] - first, inside))
        first = last
    if low < 0 or high >= first:
        raise UsageError(f"rows up to {high} are not in this feature set", hint="test rows exist once they were opened")
    return found


def gathered(pieces: Sequence[Piece], values: Callable[[str, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the values of all rows in the order they were asked for.

    Args:
        pieces: What `pieces_of` returned.
        values: (split, row numbers inside it, places) -> [n, …].
    """
    found = [values(*piece) for piece in pieces]
    if len(found) == 1:
        return found[0]
    back = np.argsort(np.concatenate([places for _, _, places in pieces]), kind="stable")
    return np.asarray(np.concatenate(same_width(found))[back])


def release(parts: Mapping[str, Part]) -> None:
    """Let go of the pages of memory-mapped columns: they stay in the system's file cache, and count no longer as this process's memory."""
    for part in parts.values():
        release_values((*part.events.values(), *part.labels.values(), *part.values.values()))


def whole(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the arrays of all splits one after the other; without a copy where only one has rows."""
    filled = [array for array in arrays if len(array)] or list(arrays[:1])
    return filled[0] if len(filled) == 1 else np.concatenate(filled)
