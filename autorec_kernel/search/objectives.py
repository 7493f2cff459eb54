"""`Objectives`: what a search maximises: a metric, a reward that weighs it against cost, or several values at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autorec_kernel.contracts.evaluator import PROVISIONAL
from autorec_kernel.records.trial import Evaluation, Trial

__all__ = ["Objective", "Objectives"]

Objective = Literal["metric", "latency", "bytes", "parameters"]
_UNITS: Mapping[str, float] = {"latency": 1.0, "bytes": float(1 << 20), "parameters": 1e6}  # ms, MiB, millions


@dataclass(frozen=True, slots=True)
class Objectives:
    """The values of a trial, all to be maximised, from reproducible figures only.

    With weights there is one value, the reward R = α m − β t / T − γ p / P − δ b / B: m is the metric (its negative where smaller is
    better), t the predicted latency (ms), p the exact number of parameters, b the bytes of the serving model in float32; T, P and B are
    the run's hard limits, or 1 ms, a million and 1 MiB where there is none. So a weight says how much metric the whole of a limit is worth.

    Args:
        metric: Name among the metrics of an evaluation.
        maximise: Whether the metric is better when larger.
        names: Values of a trial, the metric first; ignored with weights.
        weights: Of `metric` (1 where it is not named), latency, bytes and parameters.
        limits: `max_latency_ms`, `max_bytes` and `max_params`, where they are stated.
    """

    metric: str
    maximise: bool = True
    names: tuple[Objective, ...] = ("metric",)
    weights: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def told(self) -> tuple[str, ...]:
        """Return the names of the values, as strategies and the journal know them."""
        return ("reward",) if self.weights else tuple(self.metric if name == "metric" else name for name in self.names)

    def merit(self, found: Evaluation | Trial) -> float:
        """Return the metric alone, its negative where smaller is better; NaN where there is none."""
        value: float | None = found.metrics.get(self.metric)  # a journal holds null for what is no number
        return math.nan if value is None else value * (1.0 if self.maximise else -1.0)

    def of(self, found: Evaluation) -> tuple[float, ...]:
        """Return the values of a result; none where it is not complete or its metric is no number."""
        signed = self.merit(found)
        if found.status != "complete" or not math.isfinite(signed):
            return ()
        cost = {"latency": found.cost.latency_ms, "bytes": float(found.cost.bytes), "parameters": float(found.cost.parameters)}
        if not self.weights:
            return tuple(signed if name == "metric" else -cost[name] for name in self.names)
        paid = (self.weights.get(name, 0.0) * value / self._unit(name) for name, value in cost.items())
        return (self.weights.get("metric", 1.0) * signed - math.fsum(paid),)

    def settled(self, results: Iterable[Evaluation]) -> Evaluation | None:
        """Return the result that a search keeps of a trial's rungs, lowest first; None without any.

        A higher rung that fails or falls behind takes away only what was provisional.
        """
        kept: Evaluation | None = None
        for found in results:
            reached = kept is not None and kept.status == "complete" and not kept.details.get(PROVISIONAL)
            worse = kept is not None and (self.of(found) or (-math.inf,))[0] < (self.of(kept) or (-math.inf,))[0]
            if not (reached and (worse or found.status != "complete")):
                kept = found
        return kept

    def _unit(self, name: str) -> float:
        limit = {"latency": "max_latency_ms", "bytes": "max_bytes", "parameters": "max_params"}[name]
        return self.limits.get(limit, 0.0) or _UNITS[name]
