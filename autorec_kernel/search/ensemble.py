"""Greedy ensemble selection over trials (Caruana et al. 2004), bagged over users: the teacher of a distilled model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

__all__ = ["ensemble_weights"]

_SHARE = 0.5  # of the users, in each bag


def ensemble_weights(
    predictions: np.ndarray,
    merit: Callable[[np.ndarray, np.ndarray], float],
    users: np.ndarray,
    rng: np.random.Generator,
    *,
    bags: int = 10,
    steps: int = 12,
) -> np.ndarray:
    """Return float64 [m], the weight of each trial, at least 0 and 1 in sum.

    In each bag, a random half of the users, the trial is added again and again whose predictions raise the merit of the mean most, the same
    one several times if it does, and the best mean on the way counts. Bags keep a trial that is lucky on a few users from weighing much
    (Caruana et al. 2006 bag over models for that).

    Args:
        predictions: float64 [m, n], of m trials on n validation rows.
        merit: (rows int64 [k], mean predictions of these float64 [k]) → what is to be maximised.
        users: int64 [n], the user of each row.
    """
    found, names = np.zeros(len(predictions)), np.unique(users)
    for _ in range(bags):
        drawn = rng.permutation(len(names))[: max(1, round(_SHARE * len(names)))]
        rows = np.flatnonzero(np.isin(users, names[drawn]))
        counts = _greedy(predictions[:, rows], partial(merit, rows), steps)
        found += counts / counts.sum()
    return found / bags


def _greedy(predictions: np.ndarray, merit: Callable[[np.ndarray], float], steps: int) -> np.ndarray:
    """Return int64 [m]: how often each trial is in the best mean on the way; among equals the first trial is taken."""
    counts, total, best = np.zeros(len(predictions), np.int64), np.zeros(predictions.shape[1]), (-np.inf, np.zeros(0, np.int64))
    for step in range(1, steps + 1):
        merits = [merit((total + row) / step) for row in predictions]
        chosen = int(np.nanargmax(merits)) if np.isfinite(merits).any() else 0
        counts[chosen], total = counts[chosen] + 1, total + predictions[chosen]
        if not best[0] >= merits[chosen]:
            best = (merits[chosen], counts.copy())
    return best[1]
