"""Rewards from objectives: every objective against its own moving average, in units of its own moving spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["MovingBaseline"]

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
