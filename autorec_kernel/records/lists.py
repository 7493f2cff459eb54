"""Lists of different lengths stored one after the other: list i holds the entries from offsets[i] up to offsets[i + 1]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["offsets_of", "owners", "take_lists"]


def offsets_of(lengths: npt.ArrayLike) -> np.ndarray:
    """Return int64 [n + 1], the offsets of lists of these lengths [n]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def owners(offsets: np.ndarray) -> np.ndarray:
    """Return int64 [entries], the list that each entry belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def take_lists(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take some lists, in the given order.

    Args:
        offsets: int64 [n + 1].
        rows: int64 [m], list numbers; they may repeat.

    Returns:
        (offsets int64 [m + 1] of the taken lists, index int64 [their entries] of each entry among all entries).
    """
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    taken = offsets_of(lengths)
    return taken, np.repeat(starts - taken[:-1], lengths) + np.arange(taken[-1])
