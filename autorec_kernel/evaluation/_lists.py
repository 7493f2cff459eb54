"""Ranked lists of one block of masked scores: few candidates a row pass a quick bound, and only these are put in order."""

from __future__ import annotations

import numpy as np

__all__ = ["best"]

_GROUPS = 512  # groups of columns whose maxima bound the lists from below
_CROWD = 4  # candidates, or groups that hold them, per place from which a row is full of equal scores


def best(work: np.ndarray, k: int, banned: np.ndarray, first: int) -> tuple[np.ndarray, int]:
    """Return the best items of every row and the number of candidates scored NaN.

    The k-th largest of the maxima of disjoint groups of columns is a lower bound of the k-th largest score: k groups have an item at
    least as good. Usually little more than k items reach it.

    Args:
        work: float32 or float64 [A, N], C-contiguous, -inf in every cell that must not be listed.
        k: Length of the lists.
        banned: int64, flat numbers of the masked cells (the columns below `first` apart).
        first: Columns before it are never listed.

    Returns:
        (int64 [A, k] columns, -1 where fewer than k candidates exist; NaN scores among the candidates).
    """
    lists = np.full((len(work), k), -1, dtype=np.int64)
    width = min(k, work.shape[1] - first)
    if width < 1 or not len(work):
        return lists, 0
    tops = _maxima(work, width)
    bound = _kth_largest(tops, width)
    lost = np.isnan(tops).any(axis=1)
    plain = (bound > -np.inf) & ~lost
    reached = tops >= bound[:, None]
    plain &= np.count_nonzero(reached, axis=1) <= _CROWD * width
    if not plain.all():
        reached[~plain] = False
    cells = _candidates(work, reached, bound)
    counts = np.bincount(cells // work.shape[1], minlength=len(work))
    rest = np.flatnonzero(~plain | (counts > _CROWD * width))
    if not len(rest):
        lists[:, :width] = _ordered(work, cells, counts, width)
        return lists, 0
    counts[rest] = 0
    cells = cells[counts[cells // work.shape[1]] > 0]
    ordered = _ordered(work, cells, counts, width)
    hidden = np.zeros(work.shape, dtype=bool)
    hidden[:, :first] = True
    hidden.reshape(-1)[banned] = True
    ordered[rest] = _list_rows(work[rest], hidden[rest], width)
    lists[:, :width] = ordered
    return lists, int(np.isnan(work[lost]).sum())


def _maxima(work: np.ndarray, width: int) -> np.ndarray:
    """Return [A, G >= width], the largest score of every group (NaN where it has one); column n is in group n modulo G."""
    rows, columns = work.shape
    groups = max(_GROUPS, 8 * width)
    depth = columns // groups
    if depth < 2:
        return work
    tops = work[:, : depth * groups].reshape(rows, depth, groups).max(axis=1)
    rest = work[:, depth * groups :]
    np.maximum(tops[:, : rest.shape[1]], rest, out=tops[:, : rest.shape[1]])
    return np.asarray(tops)


def _candidates(work: np.ndarray, reached: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return int64, ascending, the flat numbers of the cells that reach their row's bound, all of which are in the groups `reached`."""
    columns, groups = work.shape[1], reached.shape[1]
    rows, group = np.divmod(np.flatnonzero(reached), groups)
    members = group[:, None] + np.arange(0, columns, groups)
    cells = members + (rows * columns)[:, None]
    values = work.reshape(-1).take(cells, mode="clip")
    return np.sort(cells[(values >= bound[rows, None]) & (members < columns)])


def _ordered(work: np.ndarray, cells: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
    """Order candidates (flat cells, ascending; `counts` of each listed row): score descending, then column ascending."""
    columns = work.shape[1]
    rows = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.full((len(counts), int(counts.max(initial=width))), np.inf, dtype=work.dtype)
    values[rows, places] = -work.reshape(-1)[cells]
    items = np.zeros(values.shape, dtype=np.int64)
    items[rows, places] = cells % columns
    order = np.argsort(values, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(items, order, axis=1)


def _list_rows(block: np.ndarray, hidden: np.ndarray, width: int) -> np.ndarray:
    """List rows with many equal scores, with NaN, or with fewer numbers than places."""
    work = np.where(np.isnan(block), -np.inf, block)
    threshold = _thresholds(work, width)
    plain = threshold > -np.inf  # every list entry is a number that is not excluded: the threshold decides alone
    if plain.all():
        return _list_plain(work, threshold, width)
    lists = np.empty((len(block), width), dtype=np.int64)
    lists[plain] = _list_plain(work[plain], threshold[plain], width)
    lists[~plain] = _list_sorted(block[~plain], hidden[~plain], width)
    return lists


def _thresholds(work: np.ndarray, width: int) -> np.ndarray:
    """Return the k-th largest value of every row.

    Sparse scores are mostly one value (often 0), on which partitioning is an order of magnitude slower: there, what lies above it decides.
    """
    columns = work.shape[1]
    common = np.sort(work[:, :: max(1, columns // 16)], axis=1)
    common = common[:, common.shape[1] // 2]
    above, equal = work > common[:, None], work == common[:, None]
    counts, ties = np.count_nonzero(above, axis=1), np.count_nonzero(equal, axis=1)
    threshold = common.copy()
    sparse = (ties >= columns // 8) & (counts + ties >= width)
    for row in np.flatnonzero(sparse & (counts >= width)):
        threshold[row] = _kth_largest(work[row][above[row]], width)
    dense = ~sparse
    if dense.any():
        threshold[dense] = _kth_largest(work if dense.all() else work[dense], width)
    return threshold


def _kth_largest(values: np.ndarray, k: int) -> np.ndarray:
    place = values.shape[-1] - k
    return np.asarray(np.partition(values, place, axis=-1)[..., place])


def _list_plain(work: np.ndarray, threshold: np.ndarray, width: int) -> np.ndarray:
    """Take all above the k-th largest value and, of those equal to it, the smallest rows; then order the few that are left."""
    above = np.flatnonzero(work > threshold[:, None])
    equal = np.flatnonzero(work == threshold[:, None])
    columns = work.shape[1]
    missing = width - np.bincount(above // columns, minlength=len(work))
    equal_rows = equal // columns
    starts = np.searchsorted(equal_rows, np.arange(len(work)))
    chosen = equal[np.arange(len(equal)) - starts[equal_rows] < missing[equal_rows]]
    flat = np.sort(np.concatenate([above, chosen])).reshape(len(work), width)
    order = np.argsort(-work.ravel()[flat], axis=1, kind="stable")
    return np.take_along_axis(flat % columns, order, axis=1)


def _list_sorted(block: np.ndarray, banned: np.ndarray, width: int) -> np.ndarray:
    """Rank whole rows: a stable sort keeps equal scores in order of rows and puts NaN last; excluded items are moved behind it."""
    order = np.argsort(-block, axis=1, kind="stable")
    behind = np.take_along_axis(banned, order, axis=1)
    chosen = np.argsort(behind, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(behind, chosen, axis=1), -1, np.take_along_axis(order, chosen, axis=1))
