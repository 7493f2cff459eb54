"""Sensitivity probes: every setting that a compressor proposes, alone on the uncompressed model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from autorec_kernel.contracts import Candidate, NotApplicable
from autorec_kernel.errors import AutoRecError
from autorec_kernel.serving.graph import Graph
from autorec_planner.latency import measure_latency
from autorec_planner.verdict import Verdict
from autorec_planner.workshop import Setting, StepFailed, Workshop, graph_of

__all__ = ["Probe", "in_turn", "probed", "probed_alone"]

_FASTER = 0.97  # share of the listed price below which a graph counts as faster
_EXACT = 1e-5  # largest difference of a user's or row's value that counts as none
_SECONDS = 0.3  # of each measurement


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What one setting does alone.

    Args:
        reason: Why no plan may hold it; empty for those that plans are made of.
        saved: Bytes fewer than the uncompressed model.
        dearer: Listed microseconds more, of a call of one row and of one of the target's batch.
        touched: Constant of the uncompressed graph → its bytes, of those that it changes.
        left: Share of the touched bytes that it leaves in float32, for others to compress.
        exact: Whether every user's or row's value stayed as it was.
        measured: Share of the uncompressed model's latency, at one row and at the batch.
    """

    setting: Setting
    reason: str = ""
    saved: int = 0
    dearer: tuple[float, float] = (0.0, 0.0)
    verdict: Verdict | None = None
    touched: Mapping[str, int] = field(default_factory=dict)
    left: float = 1.0
    exact: bool = False
    bytes: int = 0
    measured: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told = {"component": self.setting.component, "config": dict(self.setting.config), "reason": self.reason}
        figures = {"bytes": self.bytes, **(self.verdict.to_json() if self.verdict else {})}
        return {**told, **(figures if self.bytes else {}), "measured": dict(self.measured)}


def probed(shop: Workshop) -> list[Probe]:
    """Try each setting of each compressor while there is time."""
    entries = list(_proposed(shop))
    found = [entry for entry in entries if isinstance(entry, Probe)]
    waiting = [entry for entry in entries if isinstance(entry, Setting)]
    graph = graph_of(shop.request.start, shop.request.target.threads)
    for setting in in_turn(waiting):
        in_time = shop.in_time(training=setting.form == "module")
        found.append(probed_alone(shop, setting, graph) if in_time else Probe(setting, "no time is left"))
    return found


def in_turn(waiting: Sequence[Setting]) -> list[Setting]:
    """Return settings in the order in which they are tried: those of graphs first, which are cheap; the first of each compressor first."""
    turns, placed = Counter[str](), list[tuple[tuple[bool, int], Setting]]()
    for setting in waiting:
        placed.append(((setting.form == "module", turns[setting.component]), setting))
        turns[setting.component] += 1
    return [setting for _, setting in sorted(placed, key=lambda entry: entry[0])]


def _proposed(shop: Workshop) -> Iterator[Setting | Probe]:
    """Yield each setting, or why a compressor has none."""
    request = shop.request
    for row in request.kernel.components("compressor"):
        bare = Setting(row.id, {}, "graph")
        if not row.usable:
            yield Probe(bare, f"{row.reason}; {row.install}" if row.install else row.reason)
            continue
        try:
            instance = request.kernel.create("compressor", row.id)
            configs = [config.model_dump(mode="json") for config in instance.propose(request.start.model, request.target)]
        except AutoRecError as error:
            yield Probe(bare, error.message)
        except Exception as error:  # a plugin's code: its failure is a row of the plan
            yield Probe(bare, f"failed while proposing: {type(error).__name__}: {error}"[:300])
        else:
            place = getattr(instance, "place", None)
            yield from (Setting(row.id, config, instance.form, place) for config in configs)
            if not configs:
                yield Probe(replace(bare, form=instance.form), "it proposes nothing for this model")


def probed_alone(shop: Workshop, setting: Setting, start: Graph) -> Probe:
    """Try one setting; `start` is the uncompressed graph, which takes turns with what the setting makes of it."""
    try:
        candidate = shop.build((setting,))
    except StepFailed as failed:
        cause = failed.__cause__
        told = f"not applicable: {cause.message}" if isinstance(cause, NotApplicable) else f"failed: {failed}"
        return Probe(setting, told[:300])
    request, before = shop.request, shop.request.start
    listed, was = shop.listed(candidate), shop.listed(before)
    found = Probe(setting, saved=before.bytes - candidate.bytes, dearer=(listed[0] - was[0], listed[1] - was[1]), bytes=candidate.bytes)
    if found.saved <= 0 and all(now >= _FASTER * then for now, then in zip(listed, was, strict=True)):
        return replace(found, reason=f"{candidate.bytes:,} bytes are not fewer than {before.bytes:,}, nor is the graph faster")
    try:
        quality = shop.quality((setting,), candidate)
    except StepFailed as failed:
        return replace(found, reason=f"its model does not answer: {failed}"[:300])
    verdict, touched = shop.verdict(quality), _touched(before, candidate)
    assert before.quality is not None
    parts, own = before.quality.parts, quality.parts
    exact = len(parts) == len(own) and bool(np.abs(parts - own).max(initial=0.0) <= _EXACT)
    found = replace(found, verdict=verdict, touched=touched[0], left=touched[1], exact=exact, reason=_refusal(verdict, request.target))
    return replace(found, measured=_timed(shop, start, candidate))


def _refusal(verdict: Verdict, target: Any) -> str:
    if verdict.word == "refused":
        return f"alone it loses more than {target.max_drop:.1%}: {verdict.told()}"
    if not verdict.accepted:
        doubt = max(target.max_doubt, target.max_drop)
        return f"not enough validation data to exclude a loss of {doubt:.0%}: {verdict.told()}"
    return ""


def _timed(shop: Workshop, start: Graph, candidate: Candidate) -> dict[str, float]:
    target, found = shop.request.target, {}
    graphs = {"start": start, "probe": graph_of(candidate, target.threads)}
    for name, batch in (("one", 1), ("batch", target.batch)):
        times = measure_latency(graphs, shop.request.context.sample, batch=batch, rounds=60, seconds=_SECONDS, cores=target.threads)
        found[name] = round(times["probe"]["cpu_ms"] / times["start"]["cpu_ms"], 4)
        found[f"{name}_start_us"] = round(1000 * times["start"]["cpu_ms"], 3)
    return found


def _touched(before: Candidate, after: Candidate) -> tuple[dict[str, int], float]:
    """Return the constants of the uncompressed graph that are gone, with their bytes, and the share of them that is float32 again."""
    old, new = _contents(before), _contents(after)
    gone = {name: size for digest, (name, size, _) in old.items() if digest not in new}
    made = sum(size for digest, (_, size, is_float) in new.items() if is_float and digest not in old)
    return gone, min(1.0, made / max(1, sum(gone.values())))


def _contents(candidate: Candidate) -> dict[str, tuple[str, int, bool]]:
    """Return digest → (name, bytes, whether float32) of the constants of a graph."""
    found = {}
    for tensor in onnx.ModelProto.FromString(candidate.model.graph or b"").graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        digest = hashlib.sha256(f"{value.dtype}{value.shape}".encode() + value.tobytes()).hexdigest()
        found[digest] = (tensor.name, value.nbytes, value.dtype == np.float32)
    return found
