"""How much one column says about a label: by rank, by group, and as the only column of a model (numpy)."""

from __future__ import annotations

import numpy as np

__all__ = ["alone", "group_z", "rank_z"]

_FOLDS, _BINS, _SHUFFLES = 5, 64, 30


def rank_z(value: np.ndarray, label: np.ndarray) -> float:
    """Return the rank correlation of float [n] and float [n] in standard errors of unrelated columns; 0 where one is constant.

    With a 0/1 label this is the Mann-Whitney statistic: the AUC minus 0.5 over its standard error with ties.
    """
    ranks = [_ranked(column)[1] for column in (value, label)]
    spread = ranks[0].std() * ranks[1].std()
    return 0.0 if spread == 0 else float((ranks[0] * ranks[1]).mean() / spread * np.sqrt(len(label) - 1))


def group_z(group: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> float:
    """Return how far apart the means of float [n] by int [n] lie, in deviations of what shuffled labels give, for any number of groups."""
    _, group = np.unique(group, return_inverse=True)
    size, centred = np.bincount(group), label - label.mean()
    found = [float((np.bincount(group, weights=y) ** 2 / size).sum()) for y in (rng.permutation(centred) for _ in range(_SHUFFLES))]
    spread = float(np.std(found))
    own = float((np.bincount(group, weights=centred) ** 2 / size).sum())
    return 0.0 if spread <= 1e-12 * float(centred @ centred) else (own - float(np.mean(found))) / spread


def alone(value: np.ndarray, label: np.ndarray, rng: np.random.Generator, *, numeric: bool, binary: bool) -> float:
    """Return the AUC (of a 0/1 label) or R² (of a number) of a model of one column.

    The model is the column itself, where it is a number, or the mean label of its values (64 quantiles of a number) in other folds.

    Args:
        value: float [n], or int [n] groups.
        label: float [n].
    """
    group, ranks = _ranked(value)
    if numeric:
        group = ((ranks + len(ranks) / 2) * _BINS / len(ranks)).astype(np.int64)
    means = _mean_of_others(group, label, rng.integers(0, _FOLDS, len(label)))
    if binary:
        found = [_auc(_ranked(means)[1], label)]
        straight = _auc(ranks, label)
        return max([*found, straight, 1.0 - straight] if numeric else found)
    explained = 1.0 - float(((label - means) ** 2).mean()) / float(label.var())
    if not numeric or np.ptp(value) == 0:
        return explained
    return max(explained, float(np.corrcoef(value.astype(np.float64), label)[0, 1]) ** 2)


def _ranked(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (int64 [n], groups of equal values; float64 [n], centred ranks, of equal values their mean)."""
    _, place, count = np.unique(value, return_inverse=True, return_counts=True)
    return place, np.asarray((np.cumsum(count) - (count - 1) / 2.0)[place] - (len(value) + 1) / 2.0)


def _auc(ranks: np.ndarray, label: np.ndarray) -> float:
    """Return the AUC of centred ranks: the mean rank of positives, in units of the negatives' number, from 0.5 on (Mann and Whitney)."""
    positive = label == 1
    return 0.5 + float(ranks[positive].mean()) / float((~positive).sum())


def _mean_of_others(group: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    _, group = np.unique(group, return_inverse=True)
    cells = (int(group.max()) + 1, _FOLDS)
    place = group * _FOLDS + fold
    total = np.bincount(place, weights=label, minlength=cells[0] * _FOLDS).reshape(cells)
    count = np.bincount(place, minlength=cells[0] * _FOLDS).reshape(cells)
    others, known = total.sum(1, keepdims=True) - total, count.sum(1, keepdims=True) - count
    means = np.where(known > 0, others / np.maximum(known, 1), label.mean())
    return np.asarray(means[group, fold])
