"""Slices of the test rows: popular and rare items, short and long histories, users and items that training knows or does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts import Target
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.evaluation.rows import auc
from autorec_planner.verdict import judged

if TYPE_CHECKING:
    from autorec_kernel.features import EvaluationSet, FeatureSet

__all__ = ["by_slice", "masks"]

_HEAD = 0.5  # of the training events fall on head items


def by_slice(qualities: Mapping[str, Quality], found: Mapping[str, np.ndarray], target: Target, seed: int) -> dict[str, dict[str, Any]]:
    """Return slice → count, metric before and after, and the verdict of the paired comparison on it; empty slices are left out."""
    rows = {}
    for name, mask in found.items():
        before, after = (_part(qualities[when], mask) for when in ("before", "after"))
        if before is not None and after is not None:
            values = {"count": int(mask.sum()), "before": before.value, "after": after.value}
            rows[name] = {**values, **judged(after, before, target, seed).to_json()}
    return rows


def masks(features: FeatureSet, task: str, asked: EvaluationSet | None) -> dict[str, np.ndarray]:
    """Return slice → bool, one entry a judged user (lists) or test row.

    Head items are the most frequent ones that hold half of the training events; a user with several items to find belongs where most of
    them do. A history is short with at most as many events as the median has. Cold users are those that training does not know.
    """
    head = _head(features)
    if asked is not None:
        sizes, tail = np.diff(asked.history_offsets), ~_within(head, asked.positive_items)
        owners = np.repeat(np.arange(len(asked)), np.diff(asked.positive_offsets))
        share = np.bincount(owners, tail, minlength=len(asked)) / np.maximum(1, np.diff(asked.positive_offsets))
        cold = (asked.users <= 0) | (asked.users >= features.schema.users)
        return {"head-items": share < 0.5, "tail-items": share >= 0.5, **_lengths(sizes), "cold-users": cold}
    rows, found = features.rows("test"), dict[str, np.ndarray]()
    if features.schema.item:
        items = features.rows_at("item", rows)
        popular = _within(head, items)
        found |= {"head-items": popular, "tail-items": ~popular & (items > 0), "new-items": items == 0}
    if features.schema.user:
        users = features.rows_at("user", rows)
        counts = np.bincount(features.rows_at("user", features.rows("train")), minlength=int(users.max(initial=0)) + 1)
        counts[0] = 0
        found |= {**_lengths(counts[users]), "cold-users": users == 0}
    return found


def _lengths(sizes: np.ndarray) -> dict[str, np.ndarray]:
    middle = float(np.median(sizes)) if len(sizes) else 0.0
    return {"short-histories": sizes <= middle, "long-histories": sizes > middle}


def _head(features: FeatureSet) -> np.ndarray:
    """Return bool [items], whether an item is one of the most frequent ones that hold half of the training events."""
    if not features.schema.item:
        return np.zeros(1, bool)
    counts = np.bincount(features.rows_at("item", features.rows("train")))
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    head = np.zeros(len(counts), bool)
    head[order[(before < _HEAD * counts.sum()) & (counts[order] > 0)]] = True
    return head


def _within(head: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.where(items < len(head), head[np.minimum(items, len(head) - 1)], False)


def _part(quality: Quality, mask: np.ndarray) -> Quality | None:
    """Return a quality on a slice; None where it is empty or leaves the metric undefined."""
    if len(mask) != len(quality.parts) or not mask.any() or quality.metric == "gauc":
        return None
    parts, labels = quality.parts[mask], None if quality.labels is None else quality.labels[mask]
    if quality.metric == "auc":
        value = None if labels is None else auc(labels, parts)
    else:
        value = float(parts.mean()) ** (0.5 if quality.metric == "rmse" else 1.0)
    return None if value is None else Quality(quality.metric, float(value), parts, labels, quality.higher)
