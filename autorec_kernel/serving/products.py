"""Scores of a factorised retriever: inner products of user and item vectors, the best of several where a user has several (numpy)."""

from __future__ import annotations

import numpy as np

__all__ = ["catalogue_scores", "place_vectors"]


def catalogue_scores(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return float32 [A, N], each item's score.

    Args:
        users: float32 [A, D], or [A, K, D] for K interests a user: an item's score is that of the interest it suits best.
        items: float32 [N, D].
    """
    parts = [users] if users.ndim == 2 else [users[:, number] for number in range(users.shape[1])]
    scores: np.ndarray = parts[0] @ items.T
    for part in parts[1:]:
        np.maximum(scores, part @ items.T, out=scores)
    return scores


def place_vectors(users: np.ndarray, rows: np.ndarray, vectors: np.ndarray) -> None:
    """Write one vector [n, D] a user into the given rows of [A, D] or [A, K, D], where it becomes every interest."""
    users[rows] = vectors if users.ndim == 2 else vectors[:, None]
