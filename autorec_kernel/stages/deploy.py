"""Deployment stage: plan the compression on validation rows, apply it to the refitted model, write and verify the bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
from autorec_kernel.deploy.drift import held_out_profile
from autorec_kernel.deploy.latency import measure_latency
from autorec_kernel.deploy.plan import NOTE, Candidate, compress, exported, reapply, serving_sample, target_named
from autorec_kernel.deploy.quality import Quality, validation_quality
from autorec_kernel.features.live import live_of
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.search import limits_of, metric_of
from autorec_kernel.stages.trainer import Teachers, teachers_of, trainer_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.bundle import Bundle
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["Deployed", "Planned", "bundle_of", "deploy", "plan_compression"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What was decided on the validation rows: the steps, and the trials that students learn from."""

    steps: list[dict[str, Any]]
    teachers: Teachers


@dataclass(frozen=True, slots=True, eq=False)
class Deployed:
    """The refitted model before and after compression, and what one request takes."""

    float_model: Candidate
    compressed: Candidate
    latency: Mapping[str, Mapping[str, float]]


def plan_compression(place: Workplace, features: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial]) -> Planned:
    """Decide the steps on the validated model of a trial; every step, taken or not, goes to the journal and to `plan.json`."""
    known = {record["trial"]: record for record in place.journal.records() if record["kind"] == "planned"}
    recorded = known.get(chosen.number)
    if recorded is None:
        teachers = teachers_of(place, features, trials, chosen)
        steps = _decided(place, features, model, chosen, trials, teachers)
        recorded = place.journal.append("planned", trial=chosen.number, steps=steps, teachers=[list(one) for one in teachers])
    found = Planned(list(recorded["steps"]), [(int(number), float(weight)) for number, weight in recorded.get("teachers", ())])
    place.write_json("plan.json", {"target": place.recipe.target, "limits": limits_of(place), "note": NOTE, "steps": found.steps})
    return found


def _decided(
    place: Workplace, features: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial], teachers: Teachers
) -> list[dict[str, Any]]:
    recipe, metric = place.recipe, metric_of(place)
    sample, share = serving_sample(model.module, features), place.share("deploy")
    deadline = None if share is None else time.monotonic() + 0.5 * share

    def quality(network: Any) -> Quality:
        return validation_quality(network, features, recipe.task, metric, seed=recipe.seed)

    found = compress(
        exported(model, sample, quality),
        target_named(recipe.target),
        place.kernel,
        features,
        sample=sample,
        measure=quality,
        seed=recipe.seed,
        deadline=deadline,
        trainer=trainer_of(place, features, trials, chosen, teachers, judge.restored, deadline),
    )
    return [_step_json(asdict(step)) for step in found.model.steps]


def deploy(place: Workplace, final: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial], planned: Planned) -> Deployed:
    """Export the refitted model, apply the plan to it, and time both graphs, interleaved."""
    from autorec_kernel.records.model import CompressionStep

    metric = metric_of(place)

    def unmeasured(network: Any) -> Quality:
        return Quality(metric, 0.0, np.zeros(0))

    sample = serving_sample(model.module, final)
    start = exported(model, sample, unmeasured)
    taken = [CompressionStep(**{**step, "before": {}, "after": {}}) for step in _stripped(planned.steps)]
    target = target_named(place.recipe.target)

    def taught(place: Workplace, features: FeatureSet, trial: Trial) -> TrainedModel:
        return model if trial.number == chosen.number else judge.refit(place, features, trial)

    trainer = trainer_of(place, final, trials, chosen, planned.teachers, taught)
    after = reapply(start, taken, target, place.kernel, final, measure=unmeasured, seed=place.recipe.seed, trainer=trainer)
    for step in after.model.steps:
        if not step.taken:
            place.note(f"{step.component} was planned and {step.reason}")
    graphs = {name: _graph(candidate) for name, candidate in (("before", start), ("after", after))}
    return Deployed(start, after, measure_latency(graphs, sample))


def bundle_of(
    place: Workplace,
    dataset: Dataset,
    final: FeatureSet,
    deployed: Deployed,
    metrics: Mapping[str, Mapping[str, float]],
    plugins: Mapping[str, str],
) -> Bundle:
    """Write `bundle/` with the state at the end of training and verify it."""
    model = deployed.compressed.model
    network = model.model.module
    assert model.graph is not None
    state = final.state()
    facts = BundleFacts(
        task=place.recipe.task,
        protocol=dataset.protocol.id,
        metrics=metrics,
        architecture=model.model.architecture.readable(),
        plugins=plugins,
        data={"fingerprint": dataset.fingerprint, "rows": dataset.train.rows + dataset.valid.rows, **_sizes(final)},
        seed=place.recipe.seed,
        steps=tuple({"component": step.component, "config": step.config} for step in model.steps if step.taken),
        notes=tuple(place.notes),
        repeats=place.recipe.task == "recommend" and final.repeating,
    )
    return write_bundle(
        place.folder / "bundle",
        model=served_model(network, model.graph),
        state=state,
        sample=serving_sample(network, final),
        facts=facts,
        columns=dataset.schema,
        drift=held_out_profile(final, network.inputs, dataset),
        live=live_of(final, names=network.inputs, stored=_stored(network)) if place.recipe.live else None,
    )


def _stored(network: Any) -> list[str]:
    """Return the features of users and items that the network keeps as tables of its own."""
    static = [node for node in network.architecture.nodes if node.id in network.reach.static]
    return [name.partition(":")[2] for name in network.entity_names(static)]


def _sizes(features: FeatureSet) -> dict[str, int]:
    return {"users": max(0, features.schema.users - 1), "items": max(0, features.schema.items - 1)}


def _graph(candidate: Candidate) -> Graph:
    from autorec_kernel.deploy.export import graph_spec

    return Graph(candidate.model.graph or b"", graph_spec(candidate.model.model.module), name="graph")


def _step_json(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step whose measured latencies stand apart: they differ between equal runs."""
    measured = {when: {key: value for key, value in step[when].items() if key.startswith("latency")} for when in ("before", "after")}
    kept = {when: {key: value for key, value in step[when].items() if not key.startswith("latency")} for when in ("before", "after")}
    return {**step, **kept, "measured": measured}


def _stripped(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in step.items() if key != "measured"} for step in steps]
