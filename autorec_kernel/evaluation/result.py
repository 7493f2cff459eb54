"""What an evaluation found: values per user or per row, so that two models can be compared in pairs, and their means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["RankingResult", "RowResult", "exact_mean"]


def exact_mean(values: np.ndarray) -> float | None:
    """Return the correctly rounded mean of float64 values (any order gives the same bits); None when there are none."""
    return math.fsum(values) / len(values) if len(values) else None


def number(value: float | None) -> float | None:
    """Return a value that JSON can hold: None stands for what is undefined or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True, slots=True)
class RankingResult:
    """Ranking metrics of the users who have something to find.

    Args:
        users: int64 [U], user rows in the order they were fed.
        values: Metric name (`ndcg@10`) -> float64 [U].
        totals: Figures of all lists together (`coverage@10`).
        counts: users; left_out (users without positives); positives; unknown_positives (outside the catalogue: misses);
            excluded_positives (in the user's exclude list: misses); nan_scores (candidates scored NaN: ranked last).
    """

    users: np.ndarray
    values: Mapping[str, np.ndarray]
    totals: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def mean(self) -> dict[str, float | None]:
        """Return every metric's mean over users, and the totals; None when no user had positives."""
        totals = {name: value if len(self.users) else None for name, value in self.totals.items()}
        return {name: exact_mean(values) for name, values in self.values.items()} | totals

    def to_json(self, *, per_user: bool = False) -> dict[str, Any]:
        """Return means and counts as plain JSON values; with `per_user` also what `from_json` needs."""
        told: dict[str, Any] = {"metrics": {name: number(value) for name, value in self.mean().items()}, "counts": dict(self.counts)}
        if per_user:
            told["totals"] = dict(self.totals)
            told["users"] = self.users.tolist()
            told["values"] = {name: values.tolist() for name, values in self.values.items()}
        return told

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RankingResult:
        """Read what `to_json(per_user=True)` wrote."""
        values = {name: np.asarray(listed, dtype=np.float64) for name, listed in value["values"].items()}
        return cls(np.asarray(value["users"], dtype=np.int64), values, dict(value["totals"]), dict(value["counts"]))


@dataclass(frozen=True, slots=True)
class RowResult:
    """Metrics of predicted rows.

    Args:
        values: Metric name -> value; None where it is undefined (AUC of one class, no rows), NaN where a prediction was NaN.
        contributions: Metric name -> float64 [rows], for the metrics that are a mean over rows: `log_loss`, `mae`, and `rmse` (squared).
        counts: rows; nan_scores; and, with GAUC, users and left_out (users whose rows are all of one class).
    """

    values: Mapping[str, float | None]
    contributions: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def mean(self) -> dict[str, float | None]:
        """Return the value of every metric."""
        return dict(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return values and counts as plain JSON values; NaN becomes null."""
        return {"metrics": {name: number(value) for name, value in self.values.items()}, "counts": dict(self.counts)}
