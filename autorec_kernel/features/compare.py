"""Whether two fits of a feature tell rows apart in the same way, whatever unit or numbering the training view gave them (numpy)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autorec_kernel.records.features import Feature

__all__ = ["affine", "alike", "is_same", "is_unsure", "monotone", "recut", "renamed"]


def affine(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether one affine map takes all old values to the new ones: a scale fitted on the training view may move.

    Args:
        old, new: float [n]; what is no finite number must stay as it is, here and below.
    """
    same, old, new = _numbers(old, new)
    if not same or np.array_equal(old, new):
        return same
    if np.ptp(old) == 0 or np.ptp(new) == 0:
        return bool(np.ptp(old) == np.ptp(new))
    slope, offset = np.polyfit(old, new, 1)
    return bool(slope > 0 and np.abs(slope * old + offset - new).max() <= 1e-5 * max(1.0, float(np.ptp(new))))


def alike(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether values are equal up to the rounding of float32 sums, which follows how arrays lie in memory.

    Args:
        old, new: float [n, …].
    """
    same, old, new = _numbers(old, new)
    return same and (not old.size or bool(np.abs(old - new).max() <= 1e-6 * max(1.0, float(np.ptp(old)))))


def is_unsure(old: Feature, new: Feature, several: bool) -> bool:
    """Return whether a flood may change a feature rightly: vocabularies of lists, or of pairs of columns, follow what is frequent."""
    counted = old.kind in ("id", "bag") and not old.dynamic
    return replace(old, size=new.size if counted else old.size) != new or (counted and (several or old.kind == "bag"))


def is_same(feature: Feature, old: np.ndarray, new: np.ndarray, kind: str, several: bool) -> bool:
    """Return whether the values of a feature are what they were, or what another fit may rightly make of them.

    Args:
        kind: What was done to later events: permuted | flooded | reordered.
        several: Whether it is made of several columns.
    """
    if feature.dynamic or feature.kind == "history" or np.array_equal(old, new):
        return alike(old, new) if feature.kind == "numeric" else np.array_equal(old, new)
    if feature.kind != "numeric":
        return feature.kind == "id" and (recut(old, new) if kind == "flooded" else several and renamed(old, new))
    rule = monotone if kind == "flooded" else affine
    return all(rule(a, b) for a, b in zip(old.T, new.T, strict=True))


def monotone(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether no two rows change places.

    Args:
        old, new: float [n].
    """
    same, old, new = _numbers(old, new)
    if not same or not len(old):
        return same
    old, new = np.sort(old), new[np.argsort(old)]
    first = np.searchsorted(old, old)  # rows with a smaller old value end here
    below = np.maximum.accumulate(new)[first[first > 0] - 1]
    return bool((new[first > 0] >= below - 1e-6 * max(1.0, float(np.ptp(new)))).all())


def recut(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether rows of a vocabulary, or of bins, are what fitting it anew may make of them.

    Beside 0, bins may move their edges, so that no two rows change places; or rows may change their numbers and one row of each side
    may hold what is too rare for one of its own.

    Args:
        old, new: integers [n].
    """
    kept = (old != 0) & (new != 0)
    if monotone(old[kept], new[kept]):
        return True
    pairs = np.unique(np.stack([old[kept], new[kept]]), axis=1)
    return all(np.count_nonzero(np.bincount(side) > 1) <= 1 for side in pairs)


def renamed(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether rows of a vocabulary only changed their numbers; 0 (unknown, too rare) may come and go.

    Args:
        old, new: integers [n, …].
    """
    kept = (old != 0) & (new != 0)
    pairs = np.unique(np.stack([old[kept], new[kept]]), axis=1)
    return bool(len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1])


def _numbers(old: np.ndarray, new: np.ndarray) -> tuple[bool, np.ndarray, np.ndarray]:
    """Return (whether what is no finite number is as it was; float64, the numbers of both)."""
    known = np.isfinite(old)
    same = np.array_equal(np.where(known, 0.0, old), np.where(np.isfinite(new), 0.0, new), equal_nan=True)
    return same, *((side[known].astype(np.float64) for side in (old, new)) if same else (old, new))
