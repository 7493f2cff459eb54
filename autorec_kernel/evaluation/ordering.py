"""The one tie rule of the project: score descending, then item row ascending, NaN last; lists and ranks follow from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.evaluation._csr import Csr, as_csr, rows_of

__all__ = ["ranks", "top_k"]

_BLOCK = 1 << 21  # elements worked on at a time: a few tens of megabytes of scratch, whatever the size of the input
_SORT_FROM = 24  # positives per user from which one sort is cheaper than one pass over the catalogue per positive


def top_k(scores: np.ndarray, k: int, exclude: Csr | None = None, *, unknown_row: bool = True) -> np.ndarray:
    """Return the best items of every row: score descending, then item row ascending, NaN after every number.

    Args:
        scores: float32 or float64 [A, N]; column n is item row n.
        k: Length of the lists.
        exclude: (offsets [A + 1], items) that must not be listed, for example what a user has seen.
        unknown_row: Whether column 0 is the unknown item, which is never listed.

    Returns:
        int64 [A, k], item rows; -1 where fewer than k candidates exist.

    Raises:
        ContractError: The scores are not a matrix of numbers, or `exclude` names rows outside it.
        UsageError: k < 1.
    """
    scores, first = _matrix(scores), int(unknown_row)
    if k < 1:
        raise UsageError(f"the length of a ranking is at least 1, got {k}")
    seen = _entries(exclude, scores.shape, first)
    lists = np.full((len(scores), k), -1, dtype=np.int64)
    for part in _blocks(scores.shape):
        block = scores[part, first:]
        lists[part] = _list_block(block, k, _within(seen, part), first)
    return lists


def ranks(scores: np.ndarray, positives: Csr, exclude: Csr | None = None, *, unknown_row: bool = True) -> np.ndarray:
    """Return the 1-based rank of every positive under the tie rule.

    `exclude` takes items out of the candidates, except the user's own positives: a positive always has a rank. (Lists made by `top_k`
    take excluded positives out as well; the metrics follow the lists.)

    Args:
        scores: float32 or float64 [A, N].
        positives: (offsets [A + 1], items), the relevant items of every row.
        exclude: (offsets [A + 1], items) that are no candidates.
        unknown_row: Whether column 0 is the unknown item, which is never a candidate.

    Returns:
        int64 [positives], aligned with the items of `positives`; 0 for the unknown row and for rows outside the catalogue.
    """
    scores, first = _matrix(scores), int(unknown_row)
    offsets, items = as_csr(positives, len(scores), what="positives")
    rows = rows_of((offsets, items))
    known = (items >= first) & (items < scores.shape[1])
    found = np.zeros(len(items), dtype=np.int64)
    where = np.flatnonzero(known)
    if not len(where):
        return found
    rows, columns = rows[where], items[where] - first
    seen = _entries(exclude, scores.shape, first)
    rank_block = _ranks_by_sorting if len(where) > _SORT_FROM * len(scores) else _ranks_by_counting
    for part in _blocks(scores.shape):
        inside = slice(*np.searchsorted(rows, (part.start, part.stop)))
        block_rows, block_columns = rows[inside] - part.start, columns[inside]
        banned = np.zeros((part.stop - part.start, scores.shape[1] - first), dtype=bool)
        banned[_within(seen, part)] = True
        banned[block_rows, block_columns] = False
        found[where[inside]] = rank_block(scores[part, first:], banned, block_rows, block_columns)
    return found


def _matrix(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise ContractError(f"expected scores as float32 [users, items], got {scores.dtype}{list(scores.shape)}")
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)


def _entries(exclude: Csr | None, shape: tuple[int, ...], first: int) -> Csr:
    """Return sorted (rows, columns) of the excluded cells, columns counted from the first ranked one."""
    if exclude is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    exclude = as_csr(exclude, shape[0], what="exclude", limit=shape[1])
    keep = exclude[1] >= first
    return rows_of(exclude)[keep], exclude[1][keep] - first


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(shape[0], start + step))


def _within(entries: Csr, part: slice) -> Csr:
    inside = slice(*np.searchsorted(entries[0], (part.start, part.stop)))
    return entries[0][inside] - part.start, entries[1][inside]


def _list_block(block: np.ndarray, k: int, seen: Csr, first: int) -> np.ndarray:
    lists = np.full((len(block), k), -1, dtype=np.int64)
    width = min(k, block.shape[1])
    if not width:
        return lists
    work = block.copy()
    np.copyto(work, -np.inf, where=np.isnan(block))
    work[seen] = -np.inf
    threshold = _thresholds(work, width)
    plain = threshold > -np.inf  # every list entry is a number that is not excluded: the threshold decides alone
    if plain.all():
        lists[:, :width] = _list_plain(work, threshold, width) + first
        return lists
    lists[plain, :width] = _list_plain(work[plain], threshold[plain], width) + first
    rest = ~plain
    banned = np.zeros(block.shape, dtype=bool)
    banned[seen] = True
    lists[rest, :width] = _list_sorted(block[rest], banned[rest], width, first)
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


def _list_sorted(block: np.ndarray, banned: np.ndarray, width: int, first: int) -> np.ndarray:
    """Rank whole rows: a stable sort keeps equal scores in order of rows and puts NaN last; excluded items are moved behind it."""
    order = np.argsort(-block, axis=1, kind="stable")
    behind = np.take_along_axis(banned, order, axis=1)
    chosen = np.argsort(behind, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(behind, chosen, axis=1), -1, np.take_along_axis(order, chosen, axis=1) + first)


def _ranks_by_sorting(block: np.ndarray, banned: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    order = np.argsort(-block, axis=1, kind="stable")
    places = np.cumsum(~np.take_along_axis(banned, order, axis=1), axis=1)
    by_item = np.empty_like(places)
    np.put_along_axis(by_item, order, places, axis=1)
    return np.asarray(by_item[rows, columns])


def _ranks_by_counting(block: np.ndarray, banned: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    found = np.empty(len(rows), dtype=np.int64)
    places = np.arange(block.shape[1])
    for part in _blocks((len(rows), block.shape[1])):
        values, target = block[rows[part]], block[rows[part], columns[part]][:, None]
        lost = np.isnan(target)
        above = (values > target) | (lost & ~np.isnan(values))
        tied = ((values == target) | (lost & np.isnan(values))) & (places < columns[part][:, None])
        found[part] = 1 + ((above | tied) & ~banned[rows[part]]).sum(axis=1)
    return found
