"""Ridge fold-in: the vector of a user that training never saw, from the items in the history (numpy, one D×D system a user)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["FoldIn"]


class FoldIn:
    """Least squares on a fixed item table: history items should score 1, the catalogue 0 with a small weight (Hu et al. 2008).

    Args:
        vectors: float32 [N, D], row 0 = unknown.
        unobserved: Weight of the whole catalogue against one history.
        ridge: Regularisation relative to the mean square of the item vectors.
    """

    def __init__(self, vectors: np.ndarray, *, unobserved: float = 0.1, ridge: float = 0.1) -> None:
        self._vectors = np.asarray(vectors, dtype=np.float32)
        items = self._vectors[1:].astype(np.float64)
        self._gram = items.T @ items * (unobserved / max(1, len(items)))
        scale = float((items**2).sum() / max(1, items.size))
        self._ridge = ridge * max(scale, 1e-12) * np.eye(items.shape[1])

    def users(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return float32 [A, D], one vector per history of item rows; zeros for an empty history."""
        return np.stack([self._solve(history) for history in histories]).astype(np.float32)

    def _solve(self, history: np.ndarray) -> np.ndarray:
        seen = self._vectors[np.unique(history[history > 0])].astype(np.float64)
        if not len(seen):
            return np.zeros(self._vectors.shape[1])
        return np.linalg.solve(seen.T @ seen / len(seen) + self._gram + self._ridge, seen.mean(0))
