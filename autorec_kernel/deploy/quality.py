"""The figure of merit of a deployed model on validation rows, with what it takes to compare two models in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.evaluation import Comparison, compare_auc, compare_rmse, paired_comparison, parse_metric
from autorec_kernel.models.scoring import evaluate_ranking, row_metrics

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet

__all__ = ["Quality", "gain", "validation_quality"]


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """One model's value of one metric.

    Args:
        metric: `ndcg@10`, `auc`, `rmse`, ….
        value: The figure.
        parts: float64, per-user or per-row contributions; predictions for AUC.
        labels: float32 [rows] for AUC.
        higher: Whether more is better.
    """

    metric: str
    value: float
    parts: np.ndarray
    labels: np.ndarray | None = None
    higher: bool = True


def validation_quality(network: Any, features: FeatureSet, task: str, metric: str, *, users: int = 5000, seed: int = 0) -> Quality:
    """Measure a network (or a `GraphNetwork`) on the validation rows; the test view is out of reach here.

    Args:
        task: recommend | rate | click: the label to predict where `metric` reads rows.
        metric: Name of the metric.
        users: Users ranked at most, a sample by `seed`.
    """
    info, cutoff = parse_metric(metric)
    if cutoff:
        evaluation = features.evaluation("valid").sample(users, np.random.default_rng(seed))
        result = evaluate_ranking(network, features, evaluation, [metric])
        return Quality(metric, float(result.mean()[metric] or 0.0), result.values[metric])
    label = network.tasks[0]
    found, predictions = row_metrics(network, features, "valid", label, [metric])
    labels = features.labels(label)[features.rows("valid")]
    parts = found.contributions.get(metric, predictions.astype(np.float64))
    return Quality(metric, float(found.values[metric] or 0.0), np.asarray(parts), labels, info.higher_is_better)


def gain(after: Quality, before: Quality, rng: np.random.Generator) -> Comparison | None:
    """Return how much better `after` is (positive = better), measured on the same users or rows; None where it cannot be told."""
    if not len(after.parts) or len(after.parts) != len(before.parts):
        return None
    if after.metric == "auc" and after.labels is not None:
        return compare_auc(after.labels, after.parts, before.parts, rng)
    if after.metric == "rmse":
        return compare_rmse(before.parts, after.parts, rng)
    first, second = (after.parts, before.parts) if after.higher else (before.parts, after.parts)
    return paired_comparison(first, second, rng)
