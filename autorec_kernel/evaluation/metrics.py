"""The table of metrics: which tasks use them, whether more is better, and the function behind the name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.evaluation import ranking, rows
from autorec_kernel.evaluation.result import RowResult, exact_mean

__all__ = ["DEFAULT_METRICS", "METRICS", "MetricInfo", "default_metric", "evaluate_rows", "parse_metric"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One row of the table.

    Args:
        name: Name without the cutoff.
        reads: lists = (hits, relevant, k) -> per-user values; catalogue = a figure of the lists and the items in them; rows = (labels,
            predictions) -> value; groups = (labels, predictions, users) -> value.
        tasks: Tasks it says something about.
        higher_is_better: Direction.
        function: The metric itself.
    """

    name: str
    reads: Literal["lists", "catalogue", "rows", "groups"]
    tasks: tuple[str, ...]
    higher_is_better: bool
    function: Callable[..., Any]

    @property
    def needs_cutoff(self) -> bool:
        """Return whether the name is written with `@k`."""
        return self.reads in ("lists", "catalogue")


_ROWS = (
    MetricInfo("hr", "lists", ("recommend",), True, ranking.hit_rate),
    MetricInfo("recall", "lists", ("recommend",), True, ranking.recall),
    MetricInfo("precision", "lists", ("recommend",), True, ranking.precision),
    MetricInfo("ndcg", "lists", ("recommend",), True, ranking.ndcg),
    MetricInfo("mrr", "lists", ("recommend",), True, ranking.reciprocal_rank),
    MetricInfo("map", "lists", ("recommend",), True, ranking.average_precision),
    MetricInfo("coverage", "catalogue", ("recommend",), True, ranking.coverage),
    MetricInfo("novelty", "catalogue", ("recommend",), True, ranking.self_information),
    MetricInfo("auc", "rows", ("click",), True, rows.auc),
    MetricInfo("gauc", "groups", ("click",), True, rows.gauc),
    MetricInfo("log_loss", "rows", ("click",), False, rows.log_loss),
    MetricInfo("rmse", "rows", ("rate",), False, rows.rmse),
    MetricInfo("mae", "rows", ("rate",), False, rows.mae),
)
METRICS: Mapping[str, MetricInfo] = MappingProxyType({row.name: row for row in _ROWS})
DEFAULT_METRICS: Mapping[str, str] = MappingProxyType({"recommend": "ndcg@10", "click": "auc", "rate": "rmse"})

_CONTRIBUTIONS = {"log_loss": rows.log_losses, "rmse": rows.squared_errors, "mae": rows.absolute_errors}
_FROM_MEAN: Mapping[str, Callable[[float], float]] = {"rmse": lambda mean: float(np.sqrt(mean))}


def default_metric(task: str) -> str:
    """Return the metric a task is searched by.

    Raises:
        UnknownNameError: No task is called so.
    """
    if task not in DEFAULT_METRICS:
        raise UnknownNameError("task", task, DEFAULT_METRICS)
    return DEFAULT_METRICS[task]


def parse_metric(name: str) -> tuple[MetricInfo, int]:
    """Read a metric's name, `ndcg@10` or `auc`.

    Returns:
        The row of the table and the cutoff; 0 for metrics without one.

    Raises:
        UnknownNameError: No metric is called so.
        UsageError: The cutoff is missing, superfluous or not a number from 1.
    """
    base, at, cutoff = name.partition("@")
    if base not in METRICS:
        raise UnknownNameError("metric", base, METRICS)
    info = METRICS[base]
    if info.needs_cutoff and re.fullmatch(r"[1-9][0-9]{0,5}", cutoff):
        return info, int(cutoff)
    if info.needs_cutoff:
        raise UsageError(f"metric {name!r} needs a cutoff from 1", hint=f"write {base}@10")
    if at:
        raise UsageError(f"metric {name!r} takes no cutoff", hint=f"write {base}")
    return info, 0


def evaluate_rows(metrics: Sequence[str], labels: np.ndarray, predictions: np.ndarray, users: np.ndarray | None = None) -> RowResult:
    """Compute row metrics.

    Args:
        metrics: Names: auc, gauc (needs `users`), log_loss, rmse, mae.
        labels: float or int [rows].
        predictions: float [rows]: probabilities for `log_loss`, values for `rmse` and `mae`, any score for `auc` and `gauc`.
        users: int64 [rows].

    Raises:
        UsageError: A metric reads lists instead of rows, or `gauc` is asked for without users.
    """
    values: dict[str, float | None] = {}
    contributions: dict[str, np.ndarray] = {}
    counts = {"rows": len(labels), "nan_scores": int(np.isnan(predictions).sum())}
    for name in metrics:
        info, _ = parse_metric(name)
        if info.needs_cutoff:
            raise UsageError(f"metric {name!r} is computed from ranked lists, not from rows")
        if name in _CONTRIBUTIONS:
            contributions[name] = _CONTRIBUTIONS[name](labels, predictions)
            mean = exact_mean(contributions[name])
            values[name] = mean if mean is None else _FROM_MEAN.get(name, float)(mean)
        elif info.reads == "groups":
            values[name], told = _grouped(labels, predictions, users)
            counts |= told
        else:
            values[name] = info.function(labels, predictions)
    return RowResult(values, contributions, counts)


def _grouped(labels: np.ndarray, predictions: np.ndarray, users: np.ndarray | None) -> tuple[float | None, dict[str, int]]:
    if users is None:
        raise UsageError("metric 'gauc' needs the user of every row")
    found = rows.user_auc(labels, predictions, users)
    value = float(np.average(found.values, weights=found.impressions)) if len(found.values) else None
    return value, {"users": len(found.users), "left_out": found.left_out}
