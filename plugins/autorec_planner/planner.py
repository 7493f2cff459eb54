"""`additive`: what each compressor does alone predicts what they do together; the best predictions are built, timed, and one is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts import Candidate, Checked, Evidence, Plan, PlanRequest, Target
from autorec_kernel.records.model import CompressionStep
from autorec_planner.cost import Calibration, calibrated
from autorec_planner.finalists import Finalist, Tried, chosen, finalists, missed
from autorec_planner.latency import measure_latency
from autorec_planner.orders import drafts, in_order
from autorec_planner.probes import Probe, probed
from autorec_planner.strengths import refined
from autorec_planner.workshop import Workshop, graph_of

__all__ = ["AdditivePlanner"]

_TIMED = 3  # measurements of which the least is held against a limit: a busy machine only adds


class AdditivePlanner:
    """Plans by sensitivity probes.

    The losses of single steps add up well enough to rank plans (Spearman -0.73 against the joint loss on DCNv2, measured before the
    project), so no plan is built to be ranked. Bytes add up over the constants that steps touch, latency over a price list of operators.
    """

    class Config(ComponentConfig):
        """Options."""

        finalists: int = Field(
            4, ge=1, le=64, description="Plans that are built and timed at a time: more are while none keeps to the limits."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def plan(self, request: PlanRequest) -> Plan:
        """Probe, predict, build, time and choose."""
        shop, tried = Workshop(request), Tried()
        start, target = request.start, request.target
        probes = refined(shop, probed(shop))
        listed = shop.listed(start)
        predictor = _calibrated(probes, listed)
        plans = drafts(probes, start.bytes, listed, target)
        found = finalists(shop, probes, plans, self.config.finalists, predictor, tried)
        best = chosen(found, target, shop)
        facts = {
            "planner": "additive",
            "probes": [probe.to_json() for probe in probes],
            "finalists": [one.to_json() for one in found],
            "chosen": found.index(best),
            "predicted_plans": len(plans),
            "measured_predictor": predictor.to_json(),
            "measured_rejected": tried.rejected,
        }
        return Plan(_told(shop, probes, best, tried), missed(best, target), facts)

    def check(self, before: Candidate, after: Candidate, target: Target, sample: Mapping[str, np.ndarray]) -> Checked:
        """Time the refitted model before and after compression, in turns, and hold what is served of it against the limits."""
        graphs = {name: graph_of(one, target.threads) for name, one in (("before", before), ("after", after))}
        latency = measure_latency(graphs, sample, cores=target.threads)
        broken: dict[str, dict[str, float]] = {}
        if target.max_bytes and after.bytes > target.max_bytes:
            broken["max_bytes"] = {"limit": float(target.max_bytes), "reached": float(after.bytes)}
        least = np.inf
        for _ in range(_TIMED if target.max_latency_ms else 0):
            if least > target.max_latency_ms:
                row = measure_latency({"after": graphs["after"]}, sample, batch=target.batch, seconds=1.0, cores=target.threads)["after"]
                least = min(least, row["p50_ms"], row["cpu_ms"] if target.threads == 1 else np.inf)
        if target.max_latency_ms and least > target.max_latency_ms:
            broken["max_latency_ms"] = {"limit": target.max_latency_ms, "measured": float(least)}
        return Checked(latency, broken)

    def certify(self, evidence: Evidence) -> Mapping[str, Any]:
        """Return what the test rows and the clock say of what is served."""
        from autorec_planner.certificate import certificate

        return certificate(evidence)


def _calibrated(probes: Sequence[Probe], listed: tuple[float, float]) -> Calibration:
    """Return the line from listed to measured microseconds; a probe's is its share of what the uncompressed graph takes in the median."""
    prices, found = [], []
    for which, name in enumerate(("one", "batch")):
        timed = [probe for probe in probes if probe.measured]
        start = float(np.median([probe.measured[f"{name}_start_us"] for probe in timed] or [1.0]))
        prices += [listed[which] + probe.dearer[which] for probe in timed]
        found += [probe.measured[name] * start for probe in timed]
    return calibrated(prices, found)


def _told(shop: Workshop, probes: Sequence[Probe], best: Finalist, tried: Tried) -> tuple[CompressionStep, ...]:
    """Return the taken steps in their order with what each made of the model, then the others with the reason."""
    request, steps, now = shop.request, best.steps, shop.request.start
    taken: list[CompressionStep] = []
    for place, probe in enumerate(steps):
        part = tuple(step.setting for step in steps[: place + 1])
        after = best.candidate if place == len(steps) - 1 else shop.build(part)
        was = {**(taken[-1].after if taken else now.told())}
        told = {**after.told(), best.quality.metric: best.quality.value} if after is best.candidate else after.told()
        fewer = 1 - after.bytes / now.bytes
        assert probe.verdict is not None
        reason = f"{fewer:.0%} fewer bytes; alone {probe.verdict.told()}"
        if place == len(steps) - 1:
            reason += f"; together {best.verdict.told()}" if place else ""
        taken.append(CompressionStep(probe.setting.component, probe.setting.config, True, reason, was, told))
        now = after
    keys = {step.setting.key for step in steps}
    others = [probe for probe in in_order(probes) if probe.setting.key not in keys]
    return (*taken, *(_skipped(probe, best, request, tried) for probe in others))


def _skipped(probe: Probe, best: Finalist, request: PlanRequest, tried: Tried) -> CompressionStep:
    reason = probe.reason or tried.dropped.get(probe.setting.key, "")
    after: dict[str, float] = {"bytes": float(probe.bytes)} if probe.bytes else {}
    if not reason and any(step.setting.component == probe.setting.component for step in best.steps):
        reason = "another setting is in the better plan"
    if not reason:
        wanted = "bytes x latency" if request.target.prefer == "bytes" else "quality, then latency"
        alone = f"; alone {probe.verdict.told()}" if probe.verdict is not None else ""
        reason = f"the best plan by {wanted} is without it{alone}"
    return CompressionStep(probe.setting.component, probe.setting.config, False, reason[:300], request.start.told(), after)
