"""Metrics, intervals and paired comparisons; numpy only."""

from autorec_kernel.evaluation.accumulate import RankingEvaluator, evaluate_lists, evaluate_scores
from autorec_kernel.evaluation.intervals import Comparison, Interval, bootstrap_interval, compare_auc, compare_rmse, paired_comparison
from autorec_kernel.evaluation.metrics import DEFAULT_METRICS, METRICS, MetricInfo, default_metric, evaluate_rows, parse_metric
from autorec_kernel.evaluation.ordering import ranks, top_k
from autorec_kernel.evaluation.result import RankingResult, RowResult

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Comparison",
    "Interval",
    "MetricInfo",
    "RankingEvaluator",
    "RankingResult",
    "RowResult",
    "bootstrap_interval",
    "compare_auc",
    "compare_rmse",
    "default_metric",
    "evaluate_lists",
    "evaluate_rows",
    "evaluate_scores",
    "paired_comparison",
    "parse_metric",
    "ranks",
    "top_k",
]
