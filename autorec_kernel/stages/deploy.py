"""Deployment stage: ask a planner on validation rows, apply its plan to the refitted model, write and verify the bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.deploy import Candidate, Checked, CompressionContext, Evidence, Plan, PlanRequest, Target
from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
from autorec_kernel.deploy.drift import held_out_profile
from autorec_kernel.deploy.index import with_index
from autorec_kernel.deploy.plan import FineTuner, apply_step, exported, measured, reapply, serving_sample
from autorec_kernel.deploy.quality import Quality, validation_quality
from autorec_kernel.deploy.targets import target_of
from autorec_kernel.errors import LimitsError
from autorec_kernel.features.live import live_of
from autorec_kernel.records.bundle import canonical_json
from autorec_kernel.records.model import CompressionStep, TrainedModel
from autorec_kernel.registry.faults import guarded
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.search import metric_of, preferred
from autorec_kernel.stages.trainer import Teachers, teachers_of, trainer_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.bundle import Bundle
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["Deployed", "Planned", "bundle_of", "certificate_of", "deploy", "plan_compression"]

_SCRATCH = ".certified"  # where the bundle stands while its certificate is made
_PLANNING, _APPLYING = 0.6, 0.3  # of the time for deployment, each from its own beginning; the rest is for writing the bundle


@dataclass(frozen=True, slots=True)
class Planned:
    """What was decided on the validation rows: the steps, and the trials that students learn from.

    Of a step that could not be taken again on the refitted model, `deploy` says so in its row.
    """

    steps: list[dict[str, Any]]
    teachers: Teachers


@dataclass(frozen=True, slots=True, eq=False)
class Deployed:
    """The refitted model before and after compression, and what one request takes."""

    float_model: Candidate
    compressed: Candidate
    sample: Mapping[str, np.ndarray]
    checked: Checked


def plan_compression(place: Workplace, features: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial]) -> Planned:
    """Decide the steps on the validated model of a trial; every step, taken or not, goes to the journal and to `plan.json`.

    Raises:
        LimitsError: No plan keeps to the limits; the closest one is in `plan.json`.
    """
    known = {record["trial"]: record for record in place.journal.records() if record["kind"] == "planned"}
    recorded, target = known.get(chosen.number), target_of(place.recipe)
    if recorded is None:
        teachers = teachers_of(place, features, trials, chosen)
        plan = _decided(place, features, model, chosen, trials, teachers, target)
        told = {"steps": [_step_json(asdict(step)) for step in plan.steps], "missed": dict(plan.missed), "facts": dict(plan.facts)}
        recorded = place.journal.append("planned", trial=chosen.number, teachers=[list(one) for one in teachers], **told)
    shown = {name: recorded.get(name, {}) for name in ("missed", "facts", "steps")}
    place.write_json("plan.json", {"target": asdict(target), "trial": chosen.number, **shown})
    names = ", ".join(step["component"] for step in recorded["steps"] if step["taken"]) or "no step"
    late = sum("no time is left" in step["reason"] for step in recorded["steps"])
    names += f"; there was no time to try {late} more" if late else ""
    _refuse(place, recorded.get("missed", {}), f"no plan keeps to the limits of target {target.name!r}; the closest one ({names}) does not")
    taught = [(int(number), float(weight)) for number, weight in recorded.get("teachers", ())]
    return Planned([dict(step) for step in recorded["steps"]], taught)


def _decided(
    place: Workplace, features: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial], teachers: Teachers, target: Target
) -> Plan:
    """Ask the planner; without one the model is served as it was trained."""
    recipe, kernel, share, planner = place.recipe, place.kernel, place.share("deploy"), _planner(place)
    if planner is None:
        return Plan()
    deadline, sample = None if share is None else time.monotonic() + _PLANNING * share, serving_sample(model.module, features)

    def quality(network: Any) -> Quality:
        return validation_quality(network, features, recipe.task, metric_of(place), seed=recipe.seed)

    tuner = FineTuner(features, recipe.seed, deadline, quality)
    trainer = trainer_of(place, features, trials, chosen, teachers, judge.restored, deadline)
    context = CompressionContext(target, features, sample, tuner, np.random.default_rng(recipe.seed), trainer=trainer)
    start = exported(model, sample)
    start = replace(start, quality=measured(start, quality))
    apply = partial(apply_step, kernel, context, recipe.seed)
    request = PlanRequest(start, target, kernel, context, apply, lambda one: measured(one, quality), recipe.seed, deadline)
    plan: Plan = planner.plan(request)
    return plan


def deploy(place: Workplace, final: FeatureSet, model: TrainedModel, chosen: Trial, trials: Sequence[Trial], planned: Planned) -> Deployed:
    """Export the refitted model, apply the plan to it, and hold it against the limits of the target.

    Raises:
        LimitsError: What came out does not keep to them.
    """
    share, target, seed = place.share("deploy"), target_of(place.recipe), place.recipe.seed
    deadline = None if share is None else time.monotonic() + _APPLYING * share
    sample = serving_sample(model.module, final)
    start = exported(model, sample)
    taken = [CompressionStep(**{**step, "before": {}}) for step in _stripped(planned.steps)]

    def taught(place: Workplace, features: FeatureSet, trial: Trial) -> TrainedModel:
        return model if trial.number == chosen.number else judge.refit(place, features, trial, deadline)

    trainer = trainer_of(place, final, trials, chosen, planned.teachers, taught, deadline)
    context = CompressionContext(target, final, sample, FineTuner(final, seed), np.random.default_rng(seed), trainer=trainer)
    after = reapply(start, taken, place.kernel, context, seed, deadline)
    for row, step in zip([row for row in planned.steps if row["taken"]], after.model.steps, strict=True):
        if not step.taken:
            row |= {"taken": False, "reason": f"planned, and {step.reason}"}
            place.note(f"{step.component} was planned and {step.reason}")
    planner = _planner(place)
    checked = Checked() if planner is None else planner.check(start, after, target, sample)
    _refuse(place, checked.missed, "the refitted model breaks the limits of its target")
    return Deployed(start, after, sample, checked)


def certificate_of(
    place: Workplace, final: FeatureSet, deployed: Deployed, tests: Mapping[str, judge.Measured], bundle: Path, **tried: Any
) -> dict[str, Any]:
    """Return what the planner certifies of the served model; empty without one, and where it fails, which is noted.

    Args:
        tried: `trials` of the search, and the served one's number as `trial`.

    Raises:
        LimitsError: The bundle does not keep to a limit that only it shows, such as `max_memory`.
    """
    planner, float_test, test = _planner(place), tests["best"], tests["compressed"]
    target, judged = target_of(place.recipe), {"before": float_test.quality, "after": test.quality}
    models = (deployed.float_model, deployed.compressed, deployed.sample)
    evidence = Evidence(target, place.recipe.task, *models, final, test.asked, judged, deployed.checked, bundle, place.recipe.seed, **tried)
    found, broken = guarded(lambda: {} if planner is None else dict(planner.certify(evidence)))
    if broken:
        place.note(f"there is no certificate: {broken}")
    _refuse(place, (found or {}).get("missed", {}), "the bundle breaks the limits of its target")
    return found or {}


def _planner(place: Workplace) -> Any:
    """Return the planner that the recipe names; None where none is installed."""
    recipe, kernel = place.recipe, place.kernel
    name = preferred(kernel, "planner") if recipe.planner == "auto" else kernel.find("planner", recipe.planner).id
    if name is None:
        place.note("no planner is installed: the model is served uncompressed, and no limit of its target is held")
        return None
    return kernel.create("planner", name, **recipe.planner_options)


def _refuse(place: Workplace, missed: Mapping[str, Mapping[str, float]], what: str) -> None:
    """Raise where limits are broken, with each of them and by how much.

    Raises:
        LimitsError: One is.
    """
    if not missed:
        return
    rows = {name: (row["limit"], row.get("reached", row.get("measured", 0.0))) for name, row in missed.items()}
    told = "; ".join(f"{name} is {limit:,g} and it reaches {got:,.6g} ({got / limit - 1:+.1%})" for name, (limit, got) in rows.items())
    hint = "allow more, or plan again for other limits, without a search: autorec compress RUN --help"
    shares = {name: got / limit for name, (limit, got) in rows.items()}
    raise LimitsError(f"{what}: {told}", where=str(place.folder), hint=hint, shares=shares)


def bundle_of(
    place: Workplace,
    dataset: Dataset,
    final: FeatureSet,
    deployed: Deployed,
    metrics: Mapping[str, Mapping[str, float]],
    plugins: Mapping[str, str],
    certify: Callable[[Path], dict[str, Any]],
) -> tuple[Bundle, dict[str, Any]]:
    """Write `bundle/` with the state at the end of training, verify it, and return it with its certificate.

    Args:
        certify: Returns the certificate of the bundle in a folder, where it stands until it has one.
    """
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
    write = partial(
        write_bundle,
        model=with_index(served_model(network, model.graph), state, place.kernel, seed=place.recipe.seed),
        state=state,
        sample=serving_sample(network, final),
        facts=facts,
        columns=dataset.schema,
        drift=held_out_profile(final, network.inputs, dataset),
        live=live_of(final, names=network.inputs, stored=_stored(network)) if place.recipe.live else None,
    )
    scratch = place.folder / _SCRATCH
    try:
        write(scratch)
        found = certify(scratch)
        report = {"certificate.json": canonical_json(found)} if found else {}
        return write(place.folder / "bundle", report=report), found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _stored(network: Any) -> list[str]:
    """Return the features of users and items that the network keeps as tables of its own."""
    static = [node for node in network.architecture.nodes if node.id in network.reach.static]
    return [name.partition(":")[2] for name in network.entity_names(static)]


def _sizes(features: FeatureSet) -> dict[str, int]:
    return {"users": max(0, features.schema.users - 1), "items": max(0, features.schema.items - 1)}


def _step_json(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step whose measured latencies stand apart: they differ between equal runs."""
    measured = {when: {key: value for key, value in step[when].items() if key.startswith("latency")} for when in ("before", "after")}
    kept = {when: {key: value for key, value in step[when].items() if not key.startswith("latency")} for when in ("before", "after")}
    return {**step, **kept, "measured": measured}


def _stripped(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in step.items() if key != "measured"} for step in steps]
