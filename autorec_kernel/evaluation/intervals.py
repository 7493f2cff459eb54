"""How sure we are: bootstrap intervals of means and of paired differences, over users or rows, from an explicit generator.

Above a size where resampling and the normal approximation give the same digits, the approximation is used: its cost is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation._auc import AucSample
from autorec_kernel.evaluation.result import number
from autorec_kernel.evaluation.rows import binary_labels

__all__ = ["Comparison", "Interval", "bootstrap_interval", "compare_auc", "compare_rmse", "paired_comparison"]

_LARGE = 50_000  # values from which means are compared by the normal approximation
_LARGE_AUC = 10_000  # the same for AUC, whose resampling costs more
_CHUNK = 1 << 20  # resampled entries held at a time

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far it can be trusted.

    Args:
        mean: The mean of the values.
        low, high: Percentile bootstrap interval at the asked level; infinite when there are fewer than two values.
        standard_error: Of the mean; infinite when there are fewer than two values.
        n: Number of values.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return plain JSON values; null stands for infinite."""
        return {name: value if name == "n" else number(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """First minus second, measured on the same users or rows.

    Args:
        difference: Difference of the two figures.
        low, high: Interval of the difference at the asked level.
        standard_error: Paired standard error of the difference; infinite when it cannot be estimated.
        n: Number of pairs.
    """

    difference: float
    low: float
    high: float
    standard_error: float
    n: int

    @property
    def above(self) -> bool:
        """Return whether the whole interval is above zero."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Return whether the whole interval is below zero."""
        return self.high < 0

    @property
    def tie(self) -> bool:
        """Return whether the difference is at most one paired standard error: the cheaper of the two is preferred."""
        return abs(self.difference) <= self.standard_error

    def to_json(self) -> dict[str, float | int | None]:
        """Return plain JSON values; null stands for infinite."""
        return {name: value if name == "n" else number(value) for name, value in asdict(self).items()}


def bootstrap_interval(
    values: np.ndarray, rng: np.random.Generator, *, weights: np.ndarray | None = None, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """Return the mean of per-user (or per-row) values with its percentile bootstrap interval (Efron 1979).

    Args:
        values: float [n], finite.
        rng: The only source of randomness.
        weights: float [n], >= 0, for a weighted mean such as GAUC; the pairs (value, weight) are resampled together.
        level: Confidence level in (0, 1).
        resamples: Number of bootstrap samples.

    Raises:
        UsageError: There are no values, some are not finite, or the weights do not fit.
    """
    values = _finite(values)
    parts = _weighted(values, weights)
    return Interval(*_interval(parts, _ratio, _ratio_error(parts), rng, level, resamples), n=len(values))


def paired_comparison(
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    *,
    weights: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Comparison:
    """Compare the means of two vectors measured on the same users (or rows, or sessions), in the same order.

    Args:
        first, second: float [n], finite; entry i of both belongs to the same user.
        rng: The only source of randomness.
        weights: float [n], >= 0, the same for both.
        level: Confidence level in (0, 1).
        resamples: Number of bootstrap samples.

    Raises:
        UsageError: The vectors are empty, of unequal length or not finite.
    """
    found = bootstrap_interval(_difference(first, second), rng, weights=weights, level=level, resamples=resamples)
    return Comparison(found.mean, found.low, found.high, found.standard_error, found.n)


def compare_rmse(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 2000
) -> Comparison:
    """Compare two RMSEs from the squared errors of the same rows.

    Args:
        first, second: float [rows], squared errors (`contributions["rmse"]`), finite.
        rng: The only source of randomness.
        level: Confidence level in (0, 1).
        resamples: Number of bootstrap samples.
    """
    _difference(first, second)
    parts = np.stack([_finite(first), _finite(second), np.ones(len(first))])
    roots = np.sqrt(parts[:2].mean(axis=1))
    slopes = np.divide((0.5, -0.5), roots, out=np.zeros(2), where=roots > 0)
    linear = slopes @ (parts[:2] - np.square(roots)[:, None])
    return Comparison(*_interval(parts, _roots, _mean_error(linear), rng, level, resamples), n=len(first))


def compare_auc(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    *,
    users: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
) -> Comparison | None:
    """Compare two AUCs on the same rows.

    Rows are resampled, or whole users where they are given; the standard error is that of DeLong et al. (1988), summed over users.

    Args:
        labels: 0 or 1, [rows].
        first, second: float [rows], scores of the two models.
        rng: The only source of randomness.
        users: int [rows], for data in which the rows of a user belong together.
        level: Confidence level in (0, 1).
        resamples: Number of bootstrap samples.

    Returns:
        The comparison (`n` counts rows, or users); None when there is only one class.
    """
    positive = binary_labels(labels)
    if not 0 < positive.sum() < len(positive):
        return None
    samples = [AucSample.prepare(positive, scores) for scores in (first, second)]
    owner = np.arange(len(positive)) if users is None else np.unique(np.asarray(users), return_inverse=True)[1]
    n = int(owner.max()) + 1
    difference = samples[0].value - samples[1].value
    influence = np.bincount(owner, samples[0].influence() - samples[1].influence(), n)
    error = math.sqrt(n / (n - 1) * float(np.square(influence).sum())) if n > 1 else math.inf
    if min(positive.sum(), len(positive) - positive.sum()) < 2:
        error = math.inf
    if len(positive) > _LARGE_AUC or not math.isfinite(error):
        return Comparison(difference, *_normal(difference, error, level), error, n)
    drawn = np.full(resamples, np.nan)
    for index in range(resamples):
        weights = np.bincount(rng.integers(0, n, n), minlength=n)[owner]
        drawn[index] = samples[0].resampled(weights) - samples[1].resampled(weights)
    return Comparison(difference, *_percentiles(drawn[~np.isnan(drawn)], level), error, n)


def _interval(
    parts: np.ndarray, statistic: Statistic, error: float, rng: np.random.Generator, level: float, resamples: int
) -> tuple[float, float, float, float]:
    """Return (figure, low, high, standard error) of a statistic of the column sums of `parts` [m, n]."""
    n = parts.shape[1]
    figure = float(statistic(parts.sum(axis=1)[:, None])[0])
    if n > _LARGE or not math.isfinite(error):
        return figure, *_normal(figure, error, level), error
    drawn = []
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        index = rng.integers(0, n, size=(min(step, resamples - start), n))
        drawn.append(statistic(np.stack([part[index].sum(axis=1) for part in parts])))
    values = np.concatenate(drawn)
    return figure, *_percentiles(values[np.isfinite(values)], level), error


def _ratio(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(sums[0], sums[1], out=np.full(sums.shape[1], np.nan), where=sums[1] > 0))


def _roots(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(sums[0] / sums[2]) - np.sqrt(sums[1] / sums[2]))


def _weighted(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    given = np.ones(len(values)) if weights is None else _finite(weights)
    if len(given) != len(values) or given.min() < 0 or given.sum() <= 0:
        raise UsageError(f"weights are {len(values)} numbers >= 0, one a value, and not all zero")
    return np.stack([values * given, given])


def _ratio_error(parts: np.ndarray) -> float:
    mean = parts[0].sum() / parts[1].sum()
    return _mean_error((parts[0] - mean * parts[1]) * parts.shape[1] / parts[1].sum())


def _mean_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of centred values."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def _normal(figure: float, error: float, level: float) -> tuple[float, float]:
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    return figure - reach, figure + reach


def _percentiles(drawn: np.ndarray, level: float) -> tuple[float, float]:
    if len(drawn) < 2:
        return -math.inf, math.inf
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _finite(values: np.ndarray) -> np.ndarray:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise UsageError(f"an interval needs a vector of finite numbers, got shape {list(given.shape)}")
    return given


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if np.shape(first) != np.shape(second):
        raise UsageError(f"a paired comparison needs vectors of one length, got {list(np.shape(first))} and {list(np.shape(second))}")
    return np.asarray(_finite(first) - _finite(second))
