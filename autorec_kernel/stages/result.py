"""`result.json`: what a run found, in a documented and versioned schema (docs/reference/result.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autorec_kernel.records.trial import SearchResult, Trial

if TYPE_CHECKING:
    from autorec_kernel.evaluation import Comparison
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.stages.evaluate import Measured
    from autorec_kernel.stages.workplace import Workplace

__all__ = [
    "RESULT_VERSION",
    "baseline_row",
    "clean",
    "plugin_versions",
    "result_of",
    "stage_seconds",
    "status_counts",
    "trial_row",
    "verdict",
]

RESULT_VERSION = 1
_STAGES = ("data", "features", "search", "evaluate", "deploy")


def result_of(
    place: Workplace,
    dataset: Dataset,
    features: FeatureSet,
    found: SearchResult,
    chosen: Any,
    steps: list[dict[str, Any]],
    deployed: Any,
    tests: Mapping[str, Measured],
    baselines: Mapping[str, Any],
    bundle: Any,
    certificate: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `result.json` holds."""
    from autorec_kernel.stages.ensemble import ensemble_of
    from autorec_kernel.stages.search import metric_of, strategy_of

    protocol = dataset.protocol
    sizes = {"before": deployed.float_model.bytes, "after": deployed.compressed.bytes}
    return {
        "version": RESULT_VERSION,
        "task": place.recipe.task,
        "metric": metric_of(place),
        "protocol": {
            "id": protocol.id,
            "split": protocol.split,
            "clock": protocol.clock,
            "deduplicate": protocol.deduplicate,
            "positive_threshold": protocol.positive_threshold,
            "reason": protocol.reason,
        },
        "seed": place.recipe.seed,
        "strategy": strategy_of(place),
        "recipe": place.recipe.model_dump(mode="json"),
        "data": {
            "fingerprint": dataset.fingerprint,
            "rows": {"train": dataset.train.rows, "valid": dataset.valid.rows, "test": dataset.test.rows},
            "users": max(0, features.schema.users - 1),
            "items": max(0, features.schema.items - 1),
        },
        "stages": stage_seconds(place),
        "baselines": dict(baselines),
        "best": {
            **trial_row(chosen.trial),
            "chosen": chosen.to_json(),
            "test": clean(tests["best"].metrics),
            "test_interval": tests["best"].interval,
            "test_counts": dict(tests["best"].counts),
        },
        "compressed": {
            "steps": steps,
            "test": clean(tests["compressed"].metrics),
            "test_interval": tests["compressed"].interval,
            "slices": dict(tests["compressed"].slices),
            "bytes": sizes,
            "latency_ms": {name: dict(values) for name, values in deployed.checked.latency.items()},
        },
        "verdict": verdict(baselines, metric_of(place)),
        "trials": status_counts(found),
        "front": [trial_row(trial) for trial in found.front],
        "knee": found.knee,
        "ensemble": ensemble_of(place, features, found.trials),
        "search": {"stopped_by": found.stopped_by, "trials": len(found.trials)},
        "plugins": plugin_versions(place),
        "audit": {name: value for name, value in place.audit.items() if name != "seconds"},
        "certificate": dict(certificate),
        "bundle": {"path": "bundle", "content_digest": bundle.digest, "bytes": _lasting(bundle)},
        "notes": [*dataset.notes, *place.notes],
    }


def _lasting(bundle: Any) -> int:
    """Return the bytes of a bundle without its certificate, whose figures are measured."""
    return int(bundle.size - len(bundle.members.get("certificate.json", b"")))


def verdict(baselines: Mapping[str, Any], metric: str) -> str:
    """Return one sentence: is the served model better than the best simple one on the test rows?"""
    judged = {name: row for name, row in baselines.items() if row.get("served_minus_this")}
    if not judged:
        return "no baseline could be compared with on the test rows"
    name, row = min(judged.items(), key=lambda entry: entry[1]["served_minus_this"]["difference"])
    found = row["served_minus_this"]
    low, high = found["low"], found["high"]
    if low is not None and low > 0:
        return f"better than the best baseline ({name}) on {metric}, 95 % interval of the difference {low:.4f} to {high:.4f}"
    if high is not None and high < 0:
        return f"worse than the baseline {name} on {metric}, 95 % interval of the difference {low:.4f} to {high:.4f}"
    span = " to ".join("unknown" if bound is None else f"{bound:.4f}" for bound in (low, high))
    return f"no better than the best baseline ({name}) on {metric} with confidence: 95 % interval of the difference {span}"


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
        "slices": dict(test.slices) if test else {},
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
