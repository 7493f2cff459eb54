"""Ranking metrics at k: one value per user from the hits in that user's list, and what the lists say about the catalogue.

All take `hits` bool [U, K] (does position i hold a relevant item), `relevant` int64 [U] (number of relevant items, at least 1) and a
cutoff k; lists shorter than k count as misses. Values are float64 [U] in [0, 1].
"""

from __future__ import annotations

import numpy as np

from autorec_kernel.errors import ContractError, DataError
from autorec_kernel.evaluation._csr import Csr, as_csr, keys, rows_of
from autorec_kernel.evaluation.ordering import ranks, top_k

__all__ = [
    "average_precision",
    "coverage",
    "hit_rate",
    "hit_table",
    "ndcg",
    "precision",
    "ranks",
    "recall",
    "reciprocal_rank",
    "relevant_counts",
    "self_information",
    "top_k",
]


def hit_table(lists: np.ndarray, positives: Csr, *, distinct: bool = False) -> np.ndarray:
    """Return bool [U, K]: whether the item at each position of each list is relevant to that user.

    Args:
        lists: int64 [U, K], item rows best first; -1 = no item. No item twice in a list.
        positives: (offsets [U + 1], items).
        distinct: Whether no list is known to name an item twice, so that nothing has to be checked.

    Raises:
        ContractError: A list names an item twice (it would be rewarded twice).
    """
    lists = np.asarray(lists, dtype=np.int64)
    if not distinct:
        _refuse_repeats(lists)
    positives = as_csr(positives, len(lists), what="positives")
    if not len(positives[1]):
        return np.zeros(lists.shape, dtype=bool)
    width = 1 + max(int(lists.max(initial=0)), int(positives[1].max(initial=0)))
    wanted = np.sort(keys(rows_of(positives), positives[1], width))
    offered = keys(np.arange(len(lists))[:, None], lists, width)
    places = np.minimum(np.searchsorted(wanted, offered), len(wanted) - 1)
    return np.asarray((wanted[places] == offered) & (lists >= 0))


def relevant_counts(positives: Csr, *, unknown_row: bool = True) -> np.ndarray:
    """Return int64 [U]: how many different items are relevant to each user.

    Items outside the catalogue count too (nobody can hit them): with `unknown_row`, every entry of row 0 is one such item.
    """
    positives = as_csr(positives, len(positives[0]) - 1, what="positives")
    rows, items = rows_of(positives), positives[1]
    unknown = (items == 0) & unknown_row
    width = 1 + int(items.max(initial=0))
    different = np.unique(keys(rows[~unknown], items[~unknown], width)) // width
    users = len(positives[0]) - 1
    return np.asarray(np.bincount(different, minlength=users) + np.bincount(rows[unknown], minlength=users))


def hit_rate(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return 1 where the first k hold a relevant item, else 0."""
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the share of the relevant items that are among the first k."""
    return np.asarray(hits[:, :k].sum(axis=1) / relevant)


def precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the share of k positions that hold a relevant item; the denominator is k even where the list is shorter."""
    return np.asarray(hits[:, :k].sum(axis=1) / k)


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return DCG over ideal DCG (Järvelin and Kekäläinen 2002): binary gains, discount 1 / log2(1 + rank), min(k, relevant) ideal hits."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    return np.asarray(_total(hits[:, :k] * discounts[: hits.shape[1]]) / ideal)


def reciprocal_rank(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return 1 / rank of the first relevant item among the first k, else 0."""
    head = hits[:, :k]
    return np.where(head.any(axis=1), 1.0 / (1.0 + np.argmax(head, axis=1)), 0.0)


def average_precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the sum of the precisions at the ranks of the hits among the first k, over min(k, relevant): a perfect list has 1."""
    head = hits[:, :k]
    precisions = np.cumsum(head, axis=1) / np.arange(1, head.shape[1] + 1)
    return np.asarray(_total(head * precisions) / np.minimum(relevant, k))


def coverage(listed: np.ndarray) -> float:
    """Return the share of the catalogue that is in at least one list; `listed` is bool, one entry per item."""
    return float(listed.mean()) if len(listed) else 0.0


def self_information(popularity: np.ndarray) -> np.ndarray:
    """Return float64 [N], -log2 of each item's share of the training interactions (Zhou et al. 2010), in bits.

    One is added to every count, so that an item nobody has used is finitely surprising.

    Args:
        popularity: Interactions per item, >= 0, [N].
    """
    counts = np.asarray(popularity, dtype=np.float64)
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise DataError("popularity counts interactions: every entry is a finite number >= 0")
    return np.asarray(np.log2(counts.sum() + len(counts)) - np.log2(counts + 1.0))


def _refuse_repeats(lists: np.ndarray) -> None:
    ordered = np.sort(lists, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = int(np.flatnonzero(twice.any(axis=1))[0])
        raise ContractError(f"the list of row {row} names item row {ordered[row, 1:][twice[row]][0]} twice", hint="list every item once")


def _total(terms: np.ndarray) -> np.ndarray:
    """Sum rows from left to right: the same bits for any number of rows, and exactly the ideal for a perfect list."""
    return np.asarray(np.cumsum(terms, axis=1)[:, -1])
