"""Information in tables of counts: of one reading of a feature with the label, and of pairs of readings together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2

from autorec_selection.sample import Target
from autorec_selection.views import View

__all__ = ["classes_of", "entropy_of", "g_statistic", "one_hot", "pair_statistics", "tail"]

_CLASSES = 5  # classes that a number is cut into


def classes_of(target: Target, classes: int = _CLASSES) -> tuple[np.ndarray, int]:
    """Return (int64 [n], size), the label as classes: itself where it has few values, else quantiles of it; unknown ones are -1."""
    known = ~np.isnan(target.values)
    distinct = np.unique(target.values[known])
    if len(distinct) > classes:
        distinct = np.unique(np.quantile(target.values[known], np.arange(1, classes) / classes))
    codes = np.searchsorted(distinct, target.values, side="left")
    used, compact = np.unique(codes[known], return_inverse=True)
    found = np.full(len(known), -1, np.int64)
    found[known] = compact
    return found, len(used)


def entropy_of(labels: np.ndarray, size: int) -> float:
    """Return the entropy of classes int64 [n], in nats."""
    return float(_xlogx(np.bincount(labels, minlength=size)[None])[0] / max(len(labels), 1)) if len(labels) else 0.0


def g_statistic(codes: np.ndarray, size: int, labels: np.ndarray, classes: int) -> tuple[float, int]:
    """Return (G, degrees of freedom) of a table of counts.

    G = 2 N I(X; Y) with the information I in nats (the likelihood-ratio statistic of independence; Sokal and Rohlf, Biometry,
    chapter 17). Without dependence it is about chi-square distributed.
    """
    table = np.bincount(codes * classes + labels, minlength=size * classes).reshape(size, classes)
    rows, columns = table.sum(1), table.sum(0)
    statistic = 2.0 * (_entries(table) - _entries(rows) - _entries(columns) + _entries(np.array([len(codes)])))
    return max(statistic, 0.0), max((int((rows > 0).sum()) - 1) * (int((columns > 0).sum()) - 1), 1)


def one_hot(views: Sequence[View], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (float32 [n, total], int64 [V + 1]): indicators of the codes of all views, and where each view begins."""
    starts = np.concatenate([[0], np.cumsum([view.size for view in views])]).astype(np.int64)
    found = np.zeros((len(rows), int(starts[-1])), np.float32)
    for view, start in zip(views, starts, strict=False):
        found[np.arange(len(rows)), start + view.codes[rows]] = 1.0
    return found, starts


def pair_statistics(first: np.ndarray, second: np.ndarray, starts: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return float64 [V, V]: 2 N (I(X_i, X_j; Y) - I(X_i; Y) - I(X_j; Y)), what two readings tell together beyond what each tells.

    All tables of counts come out of one product of indicators a class; counts below 2^24 are exact in float32. Without interaction it is
    about chi-square distributed with (a - 1)(b - 1)(classes - 1) degrees of freedom.

    Args:
        first, second: float32 [n, total], `one_hot` of the same views, the second perhaps of shuffled codes.
    """
    joint = [(first[labels == one].T @ second[labels == one]).astype(np.float64) for one in range(classes)]
    sides = [np.stack([side[labels == one].sum(0, dtype=np.float64) for one in range(classes)]) for side in (first, second)]
    cells = sum(_entry(table) for table in joint) - _entry(np.sum(joint, axis=0))
    pairs = np.add.reduceat(np.add.reduceat(cells, starts[:-1], axis=0), starts[:-1], axis=1)
    alone = [np.add.reduceat(_entry(side).sum(0) - _entry(side.sum(0)), starts[:-1]) for side in sides]
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    base = float(_entry(counts).sum() - _entry(np.array(counts.sum())))
    return np.asarray(2.0 * (pairs - alone[0][:, None] - alone[1][None, :] + base))


def tail(statistic: np.ndarray | float, freedom: np.ndarray | float, inflation: np.ndarray | float) -> np.ndarray:
    """Return the chance of such a statistic without dependence, -log10 (0 = certain): chi-square, scaled by what shuffled copies reach.

    Dividing by the mean of the statistic under shuffling over its degrees of freedom is the first-order correction of Rao and Scott
    (1984) for rows that come in clusters.
    """
    scaled = np.asarray(statistic, np.float64) / np.maximum(inflation, 1e-12)
    half, order = np.maximum(scaled, 1e-12) / 2.0, np.asarray(freedom, np.float64) / 2.0
    far = half - (order - 1.0) * np.log(half) + gammaln(order)  # the leading term, where the tail is below what a float can hold
    near = -np.log(np.maximum(chi2.sf(scaled, freedom), 1e-300))
    return np.asarray(np.where(near < 690.0, near, np.maximum(far, 690.0)) / np.log(10.0) + 0.0)


def _entry(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1.0)))


def _entries(counts: np.ndarray) -> float:
    return float(_entry(counts.astype(np.float64)).sum())


def _xlogx(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(1).astype(np.float64)
    return np.asarray(_entry(total) - _entry(counts.astype(np.float64)).sum(1))
