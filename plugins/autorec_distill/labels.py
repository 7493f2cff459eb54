"""Soft labels: a feature set whose training labels are what teachers predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autorec_kernel.features import FeatureSet
from autorec_kernel.models.scoring import predict_tasks
from autorec_kernel.records.model import TrainedModel

__all__ = ["taught"]


def taught(features: FeatureSet, teachers: Sequence[tuple[TrainedModel, float]], weight: float) -> FeatureSet:
    """Return the feature set with training labels (1 - weight) y + weight p; p is the weighted mean of the teachers, of every task.

    Unknown labels stay unknown, and all other splits and features are shared.

    Args:
        teachers: Models, and weights that sum to 1; a teacher that lacks a task says nothing of it.
    """
    rows, part = features.rows("train"), features.parts["train"]
    sums: dict[str, tuple[np.ndarray, float]] = {}
    for model, share in teachers:
        for task, predicted in predict_tasks(model.module, features, rows).items():
            before, total = sums.get(task, (np.zeros(len(rows)), 0.0))
            sums[task] = before + share * predicted, total + share
    labels = dict(part.labels)
    for task, (predicted, total) in sums.items():
        own = np.array(part.labels[task], dtype=np.float32)
        own[rows] = (1.0 - weight) * own[rows] + weight * predicted / total
        labels[task] = own
    return replace(features, parts={**features.parts, "train": replace(part, labels=labels)}, _cache={})
