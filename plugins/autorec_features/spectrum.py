"""The leading singular vectors of a sparse matrix, the same on every call."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["leading"]

_EXACT = 400  # rows or columns up to which the whole decomposition is made
_MORE = 16  # further directions that the iteration carries along
_ROUNDS = 10
_START = 0x5EC7  # of the numbers that the iteration begins with: the same for every seed of a run, since a gap may be too small to settle


def leading(matrix: Any, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left [n, r], values [r], right [m, r], the largest value first.

    A function of the matrix alone. Larger ones by randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and
    5.1). ARPACK would do, but it keeps a generator of its own between calls.

    Args:
        matrix: scipy sparse matrix float64 [n, m], both at least 1.
        rank: Wanted number r; at most min(n, m).
    """
    if min(matrix.shape) <= _EXACT:
        left, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
        return left[:, :rank], values[:rank], right[:rank].T
    width = min(rank + _MORE, min(matrix.shape))
    start = np.random.default_rng(_START).normal(size=(matrix.shape[1], width))
    basis = np.linalg.qr(matrix @ start)[0]
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    left, values, right = np.linalg.svd(np.asarray((matrix.T @ basis).T), full_matrices=False)
    return (basis @ left)[:, :rank], values[:rank], right[:rank].T
