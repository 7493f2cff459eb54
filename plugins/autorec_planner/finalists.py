"""Finalists: the best plans by prediction are built for real, held against the uncompressed model, timed in turns, and one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import Any

import numpy as np

from autorec_kernel.contracts import Candidate, Target
from autorec_kernel.deploy.quality import Quality
from autorec_planner.cost import Calibration
from autorec_planner.latency import measure_latency
from autorec_planner.orders import Draft
from autorec_planner.probes import Probe
from autorec_planner.verdict import Verdict, judged
from autorec_planner.workshop import StepFailed, Workshop, graph_of

__all__ = ["Finalist", "Tried", "chosen", "finalists", "missed"]

_CLEAR = 0.85  # share below which a measured figure is better for sure, whatever the machine does beside
_SECONDS = 2.0  # of each measurement of all finalists
_TURNS = 4  # times that finalists are built, as many as are wanted each, until one keeps to the limits


@dataclass(frozen=True, slots=True, eq=False)
class Finalist:
    """A plan that was built.

    Args:
        times: `one` and `batch` → what `measure_latency` says of a call.
    """

    draft: Draft
    candidate: Candidate
    quality: Quality
    verdict: Verdict
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Probe, ...]:
        """Return the steps that were applied."""
        return self.draft.steps

    def latency(self, which: str, target: Target) -> float:
        """Return milliseconds: of the calling thread where a call has one, which a busy machine changes least; else by the clock."""
        return self.times[which]["cpu_ms" if target.threads == 1 else "p50_ms"]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        names = [{"component": step.setting.component, "config": dict(step.setting.config)} for step in self.steps]
        predicted = {"bytes": round(self.draft.bytes), "gain": round(-self.draft.loss, 6)}
        own = {"steps": names, "bytes": self.candidate.bytes, "predicted": predicted}
        return {**own, **self.verdict.to_json(), "measured": dict(self.times)}


@dataclass(slots=True)
class Tried:
    """What building finalists found out, beside them: step → why it was left out of the plan that wanted it."""

    dropped: dict[str, str] = field(default_factory=dict)
    rejected: int = 0


def finalists(
    shop: Workshop, probes: Sequence[Probe], plans: Sequence[Draft], count: int, predictor: Calibration, tried: Tried
) -> list[Finalist]:
    """Build and time the best plans, `count` at a time, until one of them keeps to the limits; the uncompressed model is the last one.

    Plans that are predicted to keep to the limit of latency come first. Where none of the first ones does, more are built, a few times.
    """
    target = shop.request.target
    better = list(takewhile(lambda plan: plan.steps, plans))
    if target.max_latency_ms:
        better.sort(key=lambda plan: predictor.milliseconds(plan.listed[1]) > target.max_latency_ms)
    source, start = built(shop, probes, better, predictor, tried), _uncompressed(shop)
    found: list[Finalist] = []
    for _ in range(_TURNS):
        more = list(islice(source, count))
        found = timed(shop, [*found[:-1], *more, start]) if more or not found else found
        if not more or any(one.steps and not missed(one, target) for one in found):
            break
    return found


def built(shop: Workshop, probes: Sequence[Probe], plans: Sequence[Draft], predictor: Calibration, tried: Tried) -> Iterator[Finalist]:
    """Yield plans that lose no more than they may, built.

    The first one is built even when the probes took all of the time: what trained is there, and the rest is quick.
    A step that finds nothing left to change goes; of a plan that loses too much, the step that loses most alone takes its next milder
    setting, or goes, and the rest is tried again.
    """
    known, seen = set[tuple[str, ...]](), set[tuple[str, ...]]()
    for plan in plans:
        one = _built(shop, probes, plan, seen, predictor, tried, late=not known)
        if one is not None and _key(one.steps) not in known:
            known.add(_key(one.steps))
            yield one


def _uncompressed(shop: Workshop) -> Finalist:
    start = shop.request.start
    assert start.quality is not None
    own = judged(start.quality, start.quality, shop.request.target, shop.request.seed)
    nothing = Draft((), float(start.bytes), 0.0, shop.listed(start))
    return Finalist(nothing, start, start.quality, replace(own, word="accepted"))


def _built(
    shop: Workshop,
    probes: Sequence[Probe],
    plan: Draft,
    seen: set[tuple[str, ...]],
    predictor: Calibration,
    tried: Tried,
    *,
    late: bool,
) -> Finalist | None:
    steps = plan.steps
    while steps and _key(steps) not in seen and (late or shop.in_time()):
        seen.add(_key(steps))
        settings = tuple(step.setting for step in steps)
        try:
            candidate = shop.build(settings)
            if _too_slow(shop, candidate, predictor):
                tried.rejected += 1
                return None
            quality = shop.quality(settings, candidate)
        except StepFailed as failed:
            gone = steps[failed.place]
            tried.dropped.setdefault(gone.setting.key, f"it does not go with the others of the plan that wanted it: {failed}")
            steps = _without(steps, gone)
            continue
        verdict = shop.verdict(quality)
        if verdict.accepted:
            return Finalist(replace(plan, steps=steps), candidate, quality, verdict)
        gone = min(steps, key=lambda step: (step.verdict.gain, step.verdict.low) if step.verdict else (0.0, 0.0))
        names = ", ".join(step.setting.component for step in steps)
        tried.dropped.setdefault(gone.setting.key, f"together ({names}) too much is lost: {verdict.told()}")
        steps = _without(steps, gone, _milder(gone, probes))
    return None


def _milder(step: Probe, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the setting of the same compressor that saves most of those that lose less alone; empty where there is none."""
    own = [one for one in probes if one.setting.component == step.setting.component and one.verdict is not None and not one.reason]
    less = [one for one in own if step.verdict is not None and one.verdict is not None and one.verdict.gain > step.verdict.gain]
    return (max(less, key=lambda one: one.saved),) if less else ()


def _too_slow(shop: Workshop, candidate: Candidate, predictor: Calibration) -> bool:
    """Return whether a graph is beyond the limit even if the prediction is off by twice its known error: then it is not measured."""
    limit = shop.request.target.max_latency_ms
    sure = 1 - 2 * predictor.error
    return bool(limit) and sure > 0 and predictor.milliseconds(shop.listed(candidate)[1]) * sure > limit


def _key(steps: Iterable[Probe]) -> tuple[str, ...]:
    return tuple(step.setting.key for step in steps)


def _without(steps: tuple[Probe, ...], gone: Probe, instead: tuple[Probe, ...] = ()) -> tuple[Probe, ...]:
    return tuple(one for step in steps for one in ((step,) if step is not gone else instead))


def timed(shop: Workshop, finalists: Sequence[Finalist]) -> list[Finalist]:
    """Time all finalists in turns, at one row and at the target's batch."""
    target, sample = shop.request.target, shop.request.context.sample
    graphs = {str(number): graph_of(one.candidate, target.threads) for number, one in enumerate(finalists)}
    found: list[dict[str, Mapping[str, float]]] = [{} for _ in finalists]
    for which, batch in (("one", 1), ("batch", target.batch)):
        times = measure_latency(graphs, sample, batch=batch, seconds=_SECONDS, cores=target.threads)
        for number, row in enumerate(found):
            row[which] = {name: round(value, 6) for name, value in times[str(number)].items()}
    return [replace(one, times=row) for one, row in zip(finalists, found, strict=True)]


def missed(one: Finalist, target: Target) -> dict[str, dict[str, float]]:
    """Return the limits that a finalist breaks."""
    found = {}
    if target.max_bytes and one.candidate.bytes > target.max_bytes:
        found["max_bytes"] = {"limit": float(target.max_bytes), "reached": float(one.candidate.bytes)}
    if target.max_latency_ms and one.latency("batch", target) > target.max_latency_ms:
        found["max_latency_ms"] = {"limit": target.max_latency_ms, "measured": one.latency("batch", target)}
    return found


def chosen(finalists: Sequence[Finalist], target: Target, shop: Workshop) -> Finalist:
    """Return the finalist to serve: of those within the limits the best by what the target prefers; without one, the closest.

    Fewest bytes times latency (the geometric mean of both calls); for a target that prefers quality, the lowest latency of those that lose
    no more than `max_drop` to the best of them. The order of the prediction stands unless a measurement is clearly better, so that equal
    runs choose alike.
    """
    within = [one for one in finalists if not missed(one, target)]
    if not within:
        return min(finalists, key=lambda one: _excess(missed(one, target)))
    if target.prefer == "quality":
        within = _best(within, target, shop)
    ordered = sorted(within, key=lambda one: one.draft.merit(target))
    kept = ordered[0]
    for one in ordered[1:]:
        if _figure(one, target) < _CLEAR * _figure(kept, target):
            kept = one
    return kept


def _best(finalists: Sequence[Finalist], target: Target, shop: Workshop) -> list[Finalist]:
    sign = 1.0 if finalists[0].quality.higher else -1.0
    best = max(finalists, key=lambda one: sign * one.quality.value)
    return [one for one in finalists if sign * (one.quality.value - best.quality.value) >= -target.max_drop * abs(best.quality.value)]


def _figure(one: Finalist, target: Target) -> float:
    latency = float(np.sqrt(one.latency("one", target) * one.latency("batch", target)))
    return latency if target.prefer == "quality" else latency * one.candidate.bytes


def _excess(broken: Mapping[str, Mapping[str, float]]) -> float:
    return sum(row.get("reached", row.get("measured", 0.0)) / row["limit"] - 1 for row in broken.values())
