"""The one tie rule of the project: score descending, then item row ascending, NaN last; lists and ranks follow from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.evaluation._csr import Csr, as_csr, rows_of
from autorec_kernel.evaluation._lists import best

__all__ = ["masked_blocks", "matrix", "ranks", "top_k"]

_BLOCK = 1 << 20  # elements worked on at a time: few megabytes
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
    scores = matrix(scores)
    if k < 1:
        raise UsageError(f"the length of a ranking is at least 1, got {k}")
    lists = np.empty((len(scores), k), dtype=np.int64)
    for part, work, banned in masked_blocks(scores, exclude, int(unknown_row)):
        lists[part], _ = best(work, k, banned, int(unknown_row))
    return lists


def masked_blocks(
    scores: np.ndarray, exclude: Csr | None, first: int, *, scratch: bool = False
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield blocks of rows with -inf where nothing may be listed; a block is valid until the next one.

    Args:
        scores: float32 or float64 [A, N].
        exclude: (offsets [A + 1], items) that must not be listed.
        first: Columns before it are never listed.
        scratch: Whether `scores` may be written over; it is then masked in place.

    Yields:
        (rows, scores [rows, N], int64 flat numbers of the excluded cells in this block).

    Raises:
        ContractError: `exclude` names rows outside the scores.
    """
    columns = scores.shape[1]
    offsets, items = (
        (np.zeros(len(scores) + 1, np.int64),) * 2 if exclude is None else as_csr(exclude, len(scores), what="exclude", limit=columns)
    )
    scratch = scratch and scores.flags.c_contiguous and scores.flags.writeable
    buffer = scores
    for part in _blocks(scores.shape):
        work = scores[part]
        if not scratch:
            buffer = np.empty_like(work, order="C") if part.start == 0 else buffer[: len(work)]
            np.copyto(buffer, work)
            work = buffer
        starts = np.arange(len(work)) * columns
        banned = np.repeat(starts, np.diff(offsets[part.start : part.stop + 1])) + items[offsets[part.start] : offsets[part.stop]]
        work.reshape(-1)[banned] = -np.inf
        work[:, :first] = -np.inf
        yield part, work, banned


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
    scores, first = matrix(scores), int(unknown_row)
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


def matrix(scores: np.ndarray) -> np.ndarray:
    """Return scores as a matrix of floats.

    Raises:
        ContractError: They are not a matrix of numbers.
    """
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
