"""Slices of the test rows: the run's metric on users and items that training knows, and on those that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.evaluation.rows import auc

if TYPE_CHECKING:
    from autorec_kernel.deploy.quality import Quality
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.features.feature_set import Split

__all__ = ["slices_of"]


def slices_of(
    quality: Quality, features: FeatureSet, task: str, split: Split = "test", asked: np.ndarray | None = None
) -> dict[str, dict[str, Any]]:
    """Return slice → {"count" of users (recommend) or rows, "value" of the metric; None where the slice leaves it undefined}.

    Args:
        asked: int64 [users], rows of those that lists were judged for; None = all of the split.

    Slices are `known-users`, `new-users`, `known-items` and `new-items` (rows only: a list ranks all items); empty ones are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, known in _known(features, task, split, asked).items():
        if len(known) != len(quality.parts):
            continue
        for label, chosen in ((f"known-{name}", known), (f"new-{name}", ~known)):
            if chosen.any():
                found[label] = {"count": int(chosen.sum()), "value": _value(quality, chosen)}
    return found


def _known(features: FeatureSet, task: str, split: Split, asked: np.ndarray | None) -> Mapping[str, np.ndarray]:
    if task == "recommend":
        users = features.evaluation(split).users if asked is None else asked
        return {"users": (users > 0) & (users < features.schema.users)}
    rows, schema = features.rows(split), features.schema
    sides = {"user": schema.user, "item": schema.item}
    return {f"{side}s": features.rows_at(side, rows) > 0 for side, name in sides.items() if name}  # type: ignore[arg-type]


def _value(quality: Quality, chosen: np.ndarray) -> float | None:
    if quality.metric == "gauc":  # its parts are predictions, which have no mean
        return None
    parts = quality.parts[chosen]
    if quality.labels is not None and quality.metric == "auc":
        return auc(quality.labels[chosen], parts)
    mean = float(parts.mean())
    return mean**0.5 if quality.metric == "rmse" else mean
