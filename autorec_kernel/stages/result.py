"""`result.json`: what a run found, in a documented and versioned schema (docs/reference/result.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autorec_kernel.records.trial import SearchResult, Trial

if TYPE_CHECKING:
    from autorec_kernel.evaluation import Comparison
    from autorec_kernel.stages.evaluate import Measured
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["RESULT_VERSION", "baseline_row", "clean", "plugin_versions", "stage_seconds", "status_counts", "trial_row"]

RESULT_VERSION = 1
_STAGES = ("data", "features", "search", "evaluate", "deploy")


def trial_row(trial: Trial) -> dict[str, Any]:
    """Return a trial as the result shows it."""
    return {
        "trial": trial.number,
        "blueprint": str(trial.details.get("blueprint", "")),
        "architecture": str(trial.details.get("architecture", "")),
        "genotype": dict(trial.genotype),
        "valid": clean(trial.metrics),
        "cost": {"parameters": trial.cost.parameters, "bytes": trial.cost.bytes, "latency_ms": trial.cost.latency_ms},
        "reason": trial.reason,
    }


def baseline_row(trial: Trial, test: Measured | None, difference: Comparison | None) -> dict[str, Any]:
    """Return a baseline: its metrics on validation and test rows, and the served model minus it, in pairs."""
    return {
        "trial": trial.number,
        "status": trial.status,
        "valid": clean(trial.metrics),
        "test": clean(test.metrics) if test else None,
        "served_minus_this": difference.to_json() if difference else None,
        "error": trial.error,
    }


def status_counts(found: SearchResult) -> dict[str, int]:
    """Return how many trials ended in each status."""
    return dict(sorted(Counter(trial.status for trial in found.trials).items()))


def stage_seconds(place: Workplace) -> dict[str, float]:
    """Return seconds by stage, and the total of this session; the parts sum to it but for bookkeeping between stages."""
    import time

    rows = {name: round(place.stages.get(name, 0.0), 3) for name in _STAGES}
    return {**rows, "total": round(time.monotonic() - place.started, 3)}


def plugin_versions(place: Workplace) -> dict[str, str]:
    """Return plugin → `distribution version` of every plugin that is ok."""
    return {row.name: f"{row.distribution} {row.version}".strip() for row in place.kernel.plugins() if row.status == "ok"}


def clean(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return metrics that JSON can hold: undefined ones become null."""
    return {name: None if value is None or not math.isfinite(value) else round(float(value), 10) for name, value in metrics.items()}
