"""Rewards from objectives: the place of a value among the earlier ones, against its own moving average, in units of its moving spread."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from statistics import NormalDist

__all__ = ["MovingBaseline", "Places"]

_FLOOR = 1e-12


class MovingBaseline:
    """Exponential moving mean and spread of every objective.

    The baseline of a batch is what was known before it, so it does not depend on the batch's own draws and leaves the expected
    gradient unchanged; only the first batch is measured against its own mean.

    Args:
        objectives: How many values a trial carries.
        decay: Weight of the past per batch, in [0, 1).
    """

    def __init__(self, objectives: int, decay: float) -> None:
        self._decay = decay
        self._mean: list[float] | None = None
        self._square = [0.0] * objectives

    def advantages(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return one advantage a trial, the mean over its objectives; then take the batch into the averages.

        Args:
            rows: Finite objectives of every trial of the batch.
        """
        if not rows:
            return []
        means = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
        known = means if self._mean is None else self._mean
        columns = zip(*rows, strict=True)
        squares = [math.fsum((x - mean) ** 2 for x in column) / len(rows) for column, mean in zip(columns, known, strict=True)]
        if self._mean is None:
            self._square = squares
        spread = [max(_FLOOR, math.sqrt(square)) for square in self._square]
        result = [math.fsum((x - m) / s for x, m, s in zip(row, known, spread, strict=True)) / len(row) for row in rows]
        self._mean = [self._mixed(old, new) for old, new in zip(known, means, strict=True)]
        self._square = [self._mixed(old, new) for old, new in zip(self._square, squares, strict=True)]
        return result

    def _mixed(self, old: float, new: float) -> float:
        return self._decay * old + (1.0 - self._decay) * new


class Places:
    """Normal scores of objectives: what matters is the order of the values, as in fitness shaping (Wierstra et al. 2014).

    A metric has a long lower tail: in its spread the good candidates are all alike, and in their order they are not. A value's score is
    the normal quantile of its place among the values of earlier batches, so it does not depend on its own batch's other draws; only
    those of the first batch are placed among each other.

    Args:
        objectives: How many values a trial carries.
    """

    def __init__(self, objectives: int) -> None:
        self._seen: list[list[float]] = [[] for _ in range(objectives)]

    def scores(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return the scores of a batch, then remember its values; equal values have the place in their middle."""
        known = [seen or sorted(column) for seen, column in zip(self._seen, zip(*rows, strict=True), strict=True)]
        found = [[_normal(value, seen) for value, seen in zip(row, known, strict=True)] for row in rows]
        for row in rows:
            for value, seen in zip(row, self._seen, strict=True):
                insort(seen, value)
        return found


def _normal(value: float, among: Sequence[float]) -> float:
    """Return the quantile of the standard normal distribution at the place of a value, in (0, 1)."""
    place = (bisect_left(among, value) + bisect_right(among, value) + 1) / 2
    return NormalDist().inv_cdf(place / (len(among) + 1))
