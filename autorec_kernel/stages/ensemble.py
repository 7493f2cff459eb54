"""The ensemble of a run's trials: weights found on validation rows, for whoever distils them into one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.evaluation.rows import auc
from autorec_kernel.search.ensemble import ensemble_weights
from autorec_kernel.search.front import order_best_first
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.stages.search import metric_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["ensemble_of"]

_MEMBERS, _ROWS, _FEWEST = 12, 20_000, 100
_STAGE = 5  # of the run's randomness


def ensemble_of(place: Workplace, features: FeatureSet, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Return `members` (trial and weight, the largest first) and what their mean reaches on the validation rows it was chosen on.

    None for lists, of which trials keep no predictions, for metrics other than AUC and RMSE, and for fewer than two trials or 100 rows.
    """
    metric, folder = metric_of(place), place.folder / ARTEFACTS
    best = [t for t in order_best_first(trials) if t.status == "complete" and (folder / t.artefacts.get("values", "")).is_file()]
    rows = features.rows("valid")
    if place.recipe.task == "recommend" or metric not in ("auc", "rmse") or len(best) < 2 or len(rows) < _FEWEST:
        return None
    rng = np.random.default_rng(np.random.SeedSequence(place.recipe.seed, spawn_key=(_STAGE,)))
    labels, best = features.labels()[rows].astype(np.float64), best[:_MEMBERS]
    kept = np.flatnonzero(np.isfinite(labels))
    kept = np.sort(rng.permutation(kept)[:_ROWS])
    stored = [np.load(folder / trial.artefacts["values"], allow_pickle=False)[kept] for trial in best]
    users = features.rows_at("user", rows[kept])
    users = np.where(users > 0, users, -1 - np.arange(len(kept)))  # each row of an unknown user stands for itself
    labels = labels[kept]

    def merit(chosen: np.ndarray, mean: np.ndarray) -> float:
        value = auc(labels[chosen], mean) if metric == "auc" else -float(np.sqrt(((labels[chosen] - mean) ** 2).mean()))
        return -np.inf if value is None else value

    weights = ensemble_weights(np.stack(stored), merit, users, rng)
    members = [{"trial": t.number, "weight": round(float(w), 4)} for t, w in zip(best, weights, strict=True) if w > 0]
    value = abs(merit(np.arange(len(kept)), weights @ np.stack(stored)))
    return {"members": sorted(members, key=lambda one: (-one["weight"], one["trial"])), "valid": {metric: round(value, 6)}}
