"""Features as numeric columns for trees and linear models; what looks at the label is made out of fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.features import Feature
from autorec_selection.sample import Sample
from autorec_selection.views import candidate_values, frequent, number_columns

__all__ = ["Columns", "columns_of"]

FEW = 64  # values up to which an id is handed over as categories
_FOLDS, _STRENGTH = 5, 10.0
_BAG_VALUES = 12

Moved = Callable[[Feature], np.ndarray | None]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of training rows and of rows to judge on.

    Args:
        train, judged: float32 [n, C], NaN = unknown.
        owner: int64 [C], the place of each column's feature among the features.
        categorical: Columns that hold categories.
    """

    train: np.ndarray
    judged: np.ndarray
    owner: np.ndarray
    categorical: tuple[int, ...]


def columns_of(
    train: Sample,
    judged: Sample,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    features: Sequence[Feature] = (),
    moved: Moved | None = None,
) -> Columns:
    """Return the columns of some features (all when none is named).

    Numbers are taken as they are; an id of few values as categories, another one as its frequency and the mean label of its value; a bag
    as its size, its frequent values and the mean label of its values; a history as its length, what it ends with and how it meets the
    candidate. Mean labels of training rows are out of fold and shrunk to the overall mean (Micci-Barreca, SIGKDD Explorations 2001).

    Args:
        labels: float32 [n] of the training rows, without gaps.
        moved: Feature → int64 [n], the training row whose value each row takes (a shuffled copy); None = its own.
    """
    folds = rng.integers(0, _FOLDS, train.rows)
    coded, owner, categorical = list[tuple[np.ndarray, np.ndarray]](), list[int](), list[int]()
    for place, feature in enumerate(features or train.features):
        rows = moved(feature) if moved else None
        for learnt, applied, categories in _columns(feature, train, judged, _Means(labels, folds), rows):
            if categories:
                categorical.append(len(coded))
            coded.append((learnt, applied))
            owner.append(place)
    empty = (np.zeros((train.rows, 0), np.float32), np.zeros((judged.rows, 0), np.float32))
    made = [np.stack([pair[k] for pair in coded], axis=1).astype(np.float32) if coded else empty[k] for k in (0, 1)]
    return Columns(made[0], made[1], np.array(owner, np.int64), tuple(categorical))


class _Means:
    """Mean labels of values: out of fold on the rows they are learnt from, whole on others."""

    def __init__(self, labels: np.ndarray, folds: np.ndarray) -> None:
        self.labels, self.folds, self.prior = labels.astype(np.float64), folds, float(labels.mean()) if len(labels) else 0.0

    def of(self, values: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of values int64 [n] or [n, W] (0 = nothing; the mean over what there is)."""
        wide, wide_others = (v[:, None] if v.ndim == 1 else v for v in (values, others))
        size = int(max(wide.max(initial=0), wide_others.max(initial=0))) + 1
        counts, sums = self._added(wide, size, np.arange(len(wide)))
        learnt = np.empty(len(wide))
        for fold in range(_FOLDS):
            inside = np.flatnonzero(self.folds == fold)
            less, fewer = self._added(wide, size, inside)
            learnt[inside] = self._mean(wide[inside], counts - less, sums - fewer)
        return learnt, self._mean(wide_others, counts, sums)

    def _added(self, wide: np.ndarray, size: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat, weights = wide[rows].reshape(-1), np.repeat(self.labels[rows], wide.shape[1])
        return np.bincount(flat, minlength=size).astype(np.float64), np.bincount(flat, weights, minlength=size)

    def _mean(self, wide: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
        means = (sums + _STRENGTH * self.prior) / (counts + _STRENGTH)
        real = wide > 0 if wide.shape[1] > 1 else np.ones_like(wide, dtype=bool)
        total = np.where(real, means[wide], 0.0).sum(1)
        return np.asarray(np.where(real.any(1), total / np.maximum(real.sum(1), 1), self.prior))


_Column = tuple[np.ndarray, np.ndarray, bool]


def _columns(feature: Feature, train: Sample, judged: Sample, means: _Means, rows: np.ndarray | None) -> list[_Column]:
    raw, other = train.inputs[feature.name], judged.inputs[feature.name]
    if feature.kind == "history":
        return _of_history(feature, train, judged, means, rows)
    raw = raw if rows is None else raw[rows]
    if feature.kind == "numeric":
        return [(raw[:, i], other[:, i], False) for i in number_columns(raw)]
    if feature.kind == "id" and feature.size <= FEW + 1:
        return [(raw, other, True)]
    if feature.kind == "id":
        return [_frequency(raw, other), (*means.of(raw, other), False)]
    indicators = [((raw == v).any(1), (other == v).any(1), False) for v in frequent(raw[raw > 0], _BAG_VALUES)]
    return [((raw > 0).sum(1), (other > 0).sum(1), False), *indicators, (*means.of(raw, other), False)]


def _frequency(raw: np.ndarray, other: np.ndarray) -> _Column:
    counts = np.log1p(np.bincount(raw, minlength=int(max(raw.max(initial=0), other.max(initial=0))) + 1))
    return counts[raw], counts[other], False


def _of_history(feature: Feature, train: Sample, judged: Sample, means: _Means, rows: np.ndarray | None) -> list[_Column]:
    facts = [_facts(feature, sample) for sample in (train, judged)]
    if rows is not None:
        facts[0] = {name: values[rows] for name, values in facts[0].items()}
    last = means.of(facts[0].pop("last"), facts[1].pop("last"))
    return [(*last, False), *((facts[0][name], facts[1][name], False) for name in facts[0])]


def _facts(feature: Feature, sample: Sample) -> dict[str, np.ndarray]:
    raw = sample.inputs[feature.name]
    length = (raw > 0).sum(1)
    last = raw[np.arange(len(raw)), np.maximum(length - 1, 0)]
    candidate = candidate_values(feature, sample)
    found = {"last": last, "length": length}
    if candidate is None:
        return found
    return {**found, "inside": ((raw == candidate[:, None]) & (raw > 0)).sum(1), "same": (last == candidate) & (last > 0)}
