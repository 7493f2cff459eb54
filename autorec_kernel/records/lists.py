"""Lists of different lengths stored one after the other: list i holds the entries from offsets[i] up to offsets[i + 1]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from autorec_kernel.errors import BundleError

__all__ = ["listed", "offsets_of", "owners", "take_lists", "unlisted"]

_MOST = 1 << 26  # lists that are stored by those which hold something


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
    index = np.repeat(starts - taken[:-1], lengths)
    index += np.arange(taken[-1])
    return taken, index


def listed(offsets: np.ndarray) -> dict[str, np.ndarray]:
    """Return offsets as they are stored: as they are or, where few of many lists hold anything, which ones and how much."""
    counts = np.diff(offsets)
    used = np.flatnonzero(counts)
    if 3 * len(used) >= len(counts) or len(counts) > _MOST or offsets[-1] >= 2**31:
        return {"offsets": offsets}
    return {"used": used.astype(np.int32), "counts": counts[used].astype(np.int32), "lists": np.array([len(counts)], offsets.dtype)}


def unlisted(arrays: Mapping[str, np.ndarray], prefix: str = "") -> np.ndarray:
    """Return the offsets that `listed` was given.

    Raises:
        BundleError: What is stored does not describe lists.
    """
    if f"{prefix}offsets" in arrays:
        return np.asarray(arrays[f"{prefix}offsets"])
    used, counts, lists = (np.asarray(arrays[f"{prefix}{name}"]) for name in ("used", "counts", "lists"))
    whole = len(lists) == 1 and 0 <= int(lists[0]) <= _MOST and len(used) == len(counts) and {used.dtype.kind, counts.dtype.kind} == {"i"}
    if not whole or (np.diff(used) <= 0).any() or (counts <= 0).any() or not (len(used) == 0 or 0 <= used[0] <= used[-1] < lists[0]):
        raise BundleError("stored lists are damaged: what they hold does not add up")
    found = np.zeros(int(lists[0]) + 1, lists.dtype)
    found[used + 1] = counts
    return np.cumsum(found, dtype=lists.dtype)
