"""Whether two fits of a feature tell rows apart in the same way, whatever unit or numbering the training view gave them (numpy)."""

from __future__ import annotations

import numpy as np

__all__ = ["affine", "alike", "monotone", "renamed"]


def affine(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether one affine map takes all old values to the new ones: a scale fitted on the training view may move.

    Args:
        old, new: float [n].
    """
    if np.array_equal(old, new):
        return True
    if np.ptp(old) == 0 or np.ptp(new) == 0:
        return bool(np.ptp(old) == np.ptp(new))
    slope, offset = np.polyfit(old.astype(np.float64), new.astype(np.float64), 1)
    return bool(slope > 0 and np.abs(slope * old + offset - new).max() <= 1e-5 * max(1.0, float(np.ptp(new))))


def alike(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether values are equal up to the rounding of float32 sums, which follows how arrays lie in memory.

    Args:
        old, new: float [n, …].
    """
    return bool(np.allclose(old, new, rtol=0.0, atol=1e-6 * max(1.0, float(np.ptp(old)) if old.size else 0.0)))


def monotone(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether no two rows change places.

    Args:
        old, new: float [n].
    """
    order = np.lexsort((new, old))
    old, new = old[order], new[order]
    slack = 1e-6 * max(1.0, float(np.ptp(new)))
    highest = np.maximum.accumulate(new)
    first = np.searchsorted(old, old)  # rows with a smaller old value end here
    return bool((new[first > 0] >= highest[first[first > 0] - 1] - slack).all())


def renamed(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether rows of a vocabulary only changed their numbers; 0 (unknown, too rare) may come and go.

    Args:
        old, new: integers [n, …].
    """
    kept = (old != 0) & (new != 0)
    pairs = np.unique(np.stack([old[kept], new[kept]]), axis=1)
    return bool(len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1])
