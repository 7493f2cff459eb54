"""The compression plan: try what the compressors propose, keep a step only if it shrinks the model and costs no measurable quality.

In this version every target tries the same steps; they differ in their limits, and `cloud` keeps the best of several settings, not the
smallest.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target, Trainer
from autorec_kernel.deploy.export import export_onnx, graph_spec, parity
from autorec_kernel.deploy.graph_network import GraphNetwork
from autorec_kernel.deploy.latency import measure_latency
from autorec_kernel.deploy.quality import Quality, gain
from autorec_kernel.errors import AutoRecError, UnknownNameError
from autorec_kernel.models.fit import FitSettings, fit
from autorec_kernel.records.model import CompressedModel, CompressionStep, TrainedModel
from autorec_kernel.records.serving_state import without_padding
from autorec_kernel.serving.graph import Graph

if TYPE_CHECKING:
    from autorec_kernel.config import ComponentConfig
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["TARGETS", "Candidate", "compress", "exported", "fine_tuner", "reapply", "serving_sample", "target_named"]

NOTE = "every target tries the same steps; they differ in their limits, and cloud keeps the best of several settings, not the smallest"
TARGETS: Mapping[str, Target] = {
    "device": Target("device", max_bytes=16 << 20, max_latency_ms=20.0, max_drop=0.01),
    "edge": Target("edge", max_bytes=64 << 20, max_latency_ms=50.0, max_drop=0.005),
    "cloud": Target("cloud", max_bytes=100_000_000, max_latency_ms=0.0, max_drop=0.001, prefer="quality"),
}
_DOUBT = 0.10  # relative loss that must lie outside the paired interval, or the validation rows cannot tell
_BESIDE = {"bytes": "another setting is smaller", "quality": "another setting is better"}
_TUNED_EPOCHS = 5  # of a full fine-tuning; a compressor asks for a share of it
Measure = Callable[[Any], Quality]
Journal = Callable[[CompressionStep], None]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model with its exported graph and what is known about it.

    Args:
        bytes: Graph and item vectors.
    """

    model: CompressedModel
    quality: Quality
    bytes: int

    def facts(self) -> dict[str, float]:
        """Return metric and bytes."""
        return {self.quality.metric: self.quality.value, "bytes": float(self.bytes)}


def target_named(name: str) -> Target:
    """Return the limits of a target.

    Raises:
        UnknownNameError: No target is called so.
    """
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    return TARGETS[name]


def exported(model: TrainedModel, sample: Mapping[str, np.ndarray], measure: Measure) -> Candidate:
    """Export a trained model, prove parity with torch, and measure it.

    Raises:
        BundleError: The graph cannot be made, or answers differently.
    """
    graph = export_onnx(model.module, sample)
    parity(model.module, graph, sample)
    return _candidate(CompressedModel(model, graph), measure)


def compress(
    start: Candidate,
    target: Target,
    kernel: Kernel,
    features: FeatureSet,
    *,
    sample: Mapping[str, np.ndarray],
    measure: Measure,
    seed: int,
    deadline: float | None = None,
    journal: Journal | None = None,
    latency: bool = True,
    trainer: Trainer | None = None,
) -> Candidate:
    """Try every compressor: those that work on the module first, then those that work on the graph.

    Choices rest on bytes and validation metrics only; latency is measured and recorded. Quality is compared with the uncompressed model,
    so that small losses do not add up.

    Args:
        start: The exported model.
        sample: Serving inputs of a few rows.
        measure: Figure of merit of a network on the validation rows.
        deadline: Monotonic seconds after which the remaining steps are skipped.
        journal: Told every step, taken or skipped.
        trainer: What students are trained with; without one nothing is distilled.

    Returns:
        The last accepted candidate; its model carries every step with the reason.
    """
    current, steps = start, []
    tuned = fine_tuner(features, seed, deadline)
    context = CompressionContext(target, features, sample, tuned, np.random.default_rng(seed), trainer=trainer)
    for component, instance in _compressors(kernel):
        if isinstance(instance, str):
            found = [(CompressionStep(component, {}, False, instance), current)]
        else:
            found = list(_tried(component, instance, start, current, kernel, context, measure, deadline, seed))
        best = min((after for step, after in found if step.taken), key=partial(_merit, target), default=current)
        for step, after in found:
            kept = step if not step.taken or after is best else replace(step, taken=False, reason=_BESIDE[target.prefer])
            timed = _timed(kept, current, after, sample) if latency and kept.taken else kept
            steps.append(timed)
            if journal is not None:
                journal(timed)
        current = best
    model = replace(current.model, steps=(*start.model.steps, *steps))
    return replace(current, model=model)


def _merit(target: Target, candidate: Candidate) -> tuple[float, float]:
    """Return what is smallest for the setting that a target prefers."""
    sign = -1.0 if candidate.quality.higher else 1.0
    value, size = sign * candidate.quality.value, float(candidate.bytes)
    return (value, size) if target.prefer == "quality" else (size, value)


def reapply(
    start: Candidate,
    steps: Sequence[CompressionStep],
    target: Target,
    kernel: Kernel,
    features: FeatureSet,
    *,
    measure: Measure,
    seed: int,
    trainer: Trainer | None = None,
) -> Candidate:
    """Apply the taken steps of a plan, decided on one model, to the same model refitted on more rows.

    A step that finds nothing to change on the refitted model, or fails there, is left out.

    Returns:
        The candidate; its model carries the steps that were applied, and with `taken` off and the reason those that were not.
    """
    current, told = start, list[CompressionStep]()
    sample = serving_sample(start.model.model.module, features)
    tuned = fine_tuner(features, seed, None)
    context = CompressionContext(target, features, sample, tuned, np.random.default_rng(seed), trainer=trainer)
    for step in steps:
        if not step.taken:
            continue
        try:
            fresh = replace(context, rng=np.random.default_rng(seed))
            current = _applied(kernel.create("compressor", step.component, **step.config), current, fresh, measure)
            told.append(step)
        except Exception as error:  # a plugin's code: the model is served without this step
            told.append(replace(step, taken=False, reason=f"left out of the refitted model: {type(error).__name__}: {error}"[:300]))
    return replace(current, model=replace(current.model, steps=tuple(told)))


def serving_sample(network: Any, features: FeatureSet, rows: int = 32) -> dict[str, np.ndarray]:
    """Return serving inputs of the first users (retrievers) or the first training rows (rankers): for tracing and golden rows."""
    lengths = {name: length for name, length in network.lengths.items() if length > 0}
    if not network.inputs:
        return {}
    if tuple(network.serving_outputs) in (("score",), ("user",)):
        users = np.arange(rows) % max(1, features.schema.users)
        found = features.state().inputs(network.inputs, users=users, lengths=lengths)
        short = without_padding(found, features.schema)  # as answers are computed; the exporter takes an axis of one for a constant
        return {name: value[:, : max(2, short[name].shape[1])] if value.ndim == 2 else value for name, value in found.items()}
    chosen = features.rows("train")[:rows]
    return features.row_inputs(network.inputs, chosen, lengths=lengths)


def fine_tuner(features: FeatureSet, seed: int, deadline: float | None) -> Callable[[TrainedModel, float], TrainedModel]:
    """Return the function that trains a copy of a model a little further on the training rows."""

    def tune(model: TrainedModel, share: float) -> TrainedModel:
        module = copy.deepcopy(model.module)
        settings = FitSettings(learning_rate=3e-4, epochs=max(1, round(share * _TUNED_EPOCHS)), patience=0)
        fit(module, features, settings, seed=np.random.SeedSequence(seed, spawn_key=(0, 7)), validate=None, deadline=deadline)
        return replace(model, module=module)

    return tune


def _candidate(model: CompressedModel, measure: Measure) -> Candidate:
    network = model.model.module
    assert model.graph is not None
    outside = network.item_vectors().numel() * 4 if tuple(network.serving_outputs) == ("user",) else 0
    return Candidate(model, measure(GraphNetwork(network, model.graph)), len(model.graph) + outside)


def _compressors(kernel: Kernel) -> Iterator[tuple[str, Any]]:
    """Yield (id, instance) or (id, why it cannot be used): module compressors first, each group in order of id."""
    found: list[tuple[int, str, Any]] = []
    for row in kernel.components("compressor"):
        if not row.usable:
            found.append((2, row.id, f"{row.reason}; {row.install}" if row.install else row.reason))
            continue
        try:
            instance = kernel.create("compressor", row.id)
            found.append((0 if instance.form == "module" else 1, row.id, instance))
        except AutoRecError as error:
            found.append((2, row.id, error.message))
    yield from ((name, instance) for _, name, instance in sorted(found, key=lambda entry: entry[:2]))


def _tried(
    component: str,
    instance: Any,
    start: Candidate,
    current: Candidate,
    kernel: Kernel,
    context: CompressionContext,
    measure: Measure,
    deadline: float | None,
    seed: int,
) -> Iterator[tuple[CompressionStep, Candidate]]:
    """Yield each setting's step and the candidate it led to; a compressor that fails costs its own step only."""
    try:
        configs: list[ComponentConfig] = list(instance.propose(current.model, context.target))
    except Exception as error:  # a plugin's code: its failure is a row of the plan
        yield _skipped(component, {}, f"failed while proposing: {error}", current), current
        return
    if not configs:
        yield _skipped(component, {}, "it proposes nothing for this model", current), current
    for config in configs:
        values = config.model_dump(mode="json")
        if deadline is not None and time.monotonic() > deadline:
            yield _skipped(component, values, "no time is left", current), current
            continue
        try:
            fresh = replace(context, rng=np.random.default_rng(seed))
            after = _applied(kernel.create("compressor", component, **values), current, fresh, measure)
        except NotApplicable as error:
            yield _skipped(component, values, f"not applicable: {error.message}", current), current
        except Exception as error:  # a plugin's code: its failure is a row of the plan
            yield _skipped(component, values, f"failed: {type(error).__name__}: {error}", current), current
        else:
            taken, reason = _verdict(start, current, after, context.target, np.random.default_rng(seed))
            yield CompressionStep(component, values, taken, reason, current.facts(), after.facts()), after


def _applied(compressor: Any, current: Candidate, context: CompressionContext, measure: Measure) -> Candidate:
    found: CompressedModel = compressor.compress(current.model, context)
    if compressor.form == "module":
        graph = export_onnx(found.model.module, context.sample)
        parity(found.model.module, graph, context.sample)
        found = replace(found, graph=graph)
    return _candidate(found, measure)


def _verdict(start: Candidate, before: Candidate, after: Candidate, target: Target, rng: np.random.Generator) -> tuple[bool, str]:
    """Return whether a step is taken and why: fewer bytes than before it, and no measurable loss against the uncompressed model."""
    if after.bytes >= before.bytes:
        return False, f"{after.bytes:,} bytes are not fewer than {before.bytes:,}"
    found = gain(after.quality, start.quality, rng)
    scale = max(abs(start.quality.value), 1e-12)
    if found is None:
        return False, "the validation rows cannot tell whether quality is lost"
    told = f"{after.quality.metric} {found.difference / scale:+.2%} [{found.low / scale:+.2%}, {found.high / scale:+.2%}], n = {found.n}"
    if found.difference < -target.max_drop * scale:
        return False, f"loses more than {target.max_drop:.1%}: {told}"
    if found.low < -_DOUBT * scale:
        return False, f"not enough validation data to exclude a loss of {_DOUBT:.0%}: {told}"
    return True, f"{1 - after.bytes / before.bytes:.0%} fewer bytes; {told}"


def _skipped(component: str, config: Mapping[str, Any], reason: str, current: Candidate) -> CompressionStep:
    return CompressionStep(component, config, False, reason[:300], current.facts())


def _timed(step: CompressionStep, before: Candidate, after: Candidate, sample: Mapping[str, np.ndarray]) -> CompressionStep:
    graphs = {
        name: Graph(candidate.model.graph or b"", graph_spec(candidate.model.model.module), name=name)
        for name, candidate in (("before", before), ("after", after))
    }
    found = measure_latency(graphs, sample)
    timed = {name: {"latency_ms": values["p50_ms"], "latency_p95_ms": values["p95_ms"]} for name, values in found.items()}
    return replace(step, before={**step.before, **timed["before"]}, after={**step.after, **timed["after"]})
