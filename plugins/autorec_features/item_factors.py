"""Factors of items: the directions in which labels differ beyond what an item and a user usually get."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from autorec_features.spectrum import leading

__all__ = ["learn"]

_STRENGTH = 300.0  # labels that nothing known of an item is worth: factors of rare items are noise
_LENIENCY = 5.0  # labels that the mean of a user is worth
_FLAT = 1e-6  # share of the largest variance below which a direction is nothing


def learn(users: np.ndarray, items: np.ndarray, standard: np.ndarray, size: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what items usually get, float64 [size], and their factors, float64 [size, rank], row 0 = unknown zeros.

    Users and items are numbered by their first event, so that the result does not depend on what comes later.

    Args:
        users, items: int64 [m], rows of entities; oldest event first.
        standard: float64 [m], standardised labels; NaN = unknown.
        size: Rows of items, row 0 included.
    """
    means, factors = np.zeros(size), np.zeros((size, rank))
    known = np.isfinite(standard) & (users > 0) & (items > 0)
    if not known.any():
        return means, factors
    users, items, rest = _by_first(users[known])[0], items[known], standard[known]
    items, names = _by_first(items)
    count = np.bincount(items)
    usual = np.bincount(items, rest) / (count + _STRENGTH)
    rest = rest - usual[items]
    rest = rest - (np.bincount(users, rest) / (np.bincount(users) + _LENIENCY))[users]
    scale = 1.0 / np.sqrt(count + _STRENGTH)
    matrix = csr_matrix((rest * scale[items], (users, items)))
    _, values, right = leading(matrix, min(rank, *matrix.shape))
    means[names] = usual
    factors[names, : len(values)] = _whitened(right * values * scale[:, None], count)
    return means, factors


def _by_first(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows numbered in order of their first appearance, and the row behind each number."""
    names, first, code = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place[code], names[order]


def _whitened(factors: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the factors turned so that they are uncorrelated and of mean square 1 over the events."""
    square = (factors * count[:, None]).T @ factors / max(count.sum(), 1)
    values, turn = np.linalg.eigh(square)
    told = values > _FLAT * values.max(initial=0.0)
    return np.asarray((factors @ turn) * np.where(told, 1.0 / np.sqrt(np.where(told, values, 1.0)), 0.0))
