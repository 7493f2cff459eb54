"""After the search: the choice, its compression, the one opening of the test rows, the bundle and the result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from autorec_kernel.deploy.graph_network import GraphNetwork
from autorec_kernel.errors import BundleError, LimitsError, SearchError
from autorec_kernel.search.choose import Choice, choose
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.curves import draw_curves
from autorec_kernel.stages.deploy import Deployed, Planned, bundle_of, certificate_of, deploy, plan_compression
from autorec_kernel.stages.prepare import features_of, narrowed
from autorec_kernel.stages.result import baseline_row, clean, plugin_versions, result_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.model import TrainedModel
    from autorec_kernel.records.trial import SearchResult, Trial
    from autorec_kernel.search.loop import Search
    from autorec_kernel.stages.evaluate import Measured
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["finish"]

_TRIES = 3  # chosen models that may turn out not to be servable


def finish(
    place: Workplace, dataset: Dataset, features: FeatureSet, found: SearchResult, state: Search, only: Collection[int] = ()
) -> dict[str, Any]:
    """Choose, plan the compression, refit, compress, measure once on the test rows, write bundle and result.

    Args:
        only: Trials that may be served; empty = all.

    Raises:
        SearchError: No candidate could be evaluated.
        LimitsError: Nothing keeps to the limits of the target.
    """
    made = _made(place, dataset, features, found, list(state.baselines), only)
    chosen, planned, final, model, deployed = made.chosen, made.planned, made.final, made.model, made.deployed
    plan = judge.plan_digest(chosen.trial, planned.steps)
    dataset.test.fix_plan(plan)
    with place.stage("evaluate", "measuring on the test rows"):
        if place.recipe.task == "recommend" and final.repeating:
            place.note(
                "users choose items again here: lists are judged with seen items in; `recommend` leaves them out unless told otherwise"
            )
        state_before_test = final.state()
        final.open_test(dataset.test.open("the float and the compressed model of this run"))
        before = any(record["kind"] == "test_opened" and record["plan"] == plan for record in place.journal.records())
        place.journal.append("session_test_opened" if before else "test_opened", reason=dataset.test.openings[-1], plan=plan)
        served = GraphNetwork(deployed.compressed.model.model.module, deployed.compressed.model.graph or b"")
        tests = {"best": judge.measure(model.module, final, place), "compressed": judge.measure(served, final, place)}
        judged, users = len(tests["compressed"].quality.parts), len(final.evaluation("test")) if place.recipe.task == "recommend" else 0
        if judged < users:
            place.note(f"test figures are those of {judged:,} of {users:,} users, drawn by the seed (test_users)")
        baselines = _baselines(place, final, found, state, tests["compressed"])
    with place.stage("deploy", "writing the bundle"):
        assert final.state() is state_before_test
        metrics = {"valid": clean(chosen.trial.metrics), "test": clean(tests["compressed"].metrics)}
        certify = partial(certificate_of, place, final, deployed, tests, trials=found.trials, trial=chosen.trial.number)
        bundle, certificate = bundle_of(place, dataset, final, deployed, metrics, plugin_versions(place), certify)  # type: ignore[arg-type]
    result = result_of(place, dataset, features, found, chosen, planned.steps, deployed, tests, baselines, bundle, certificate)
    place.write_json("result.json", result)
    draw_curves(place.folder, chosen.trial)
    place.journal.append("finished", bundle=bundle.digest, trial=chosen.trial.number)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """The chosen trial's model, refitted on all rows before the test part and compressed as planned."""

    chosen: Choice
    planned: Planned
    final: FeatureSet
    model: TrainedModel
    deployed: Deployed


def _made(
    place: Workplace, dataset: Dataset, features: FeatureSet, found: SearchResult, baselines: list[int], only: Collection[int] = ()
) -> _Made:
    """Return the best trial's model ready to be served.

    One whose graph cannot be made gives its place to the next best of another kind, in the end to a baseline; one that no plan brings
    within the limits of the target, to the next best that is small enough.

    Raises:
        SearchError: No candidate could be evaluated.
        BundleError: None of the best ones can be served.
        LimitsError: None of them keeps to the limits; it tells of the one that comes closest.
    """
    trials = left = list(judge.answering(found.trials, features.schema, place.recipe.task))
    left = [trial for trial in left if not only or trial.number in only]
    final: FeatureSet | None = None
    broken: list[LimitsError] = []
    tried = 0
    while True:
        with place.stage("evaluate", "taking up the chosen model"):
            chosen = choose(left, baselines, lambda one, other: judge.trial_comparison(place, features, one, other))
            if chosen is None:
                raise SearchError(_why_nothing(found), where=str(place.folder), hint="autorec status " + str(place.folder))
            validated = judge.restored(place, features, chosen.trial)
        try:
            with place.stage("deploy", "planning the compression"):
                planned = plan_compression(place, features, validated, chosen.trial, trials)
            with place.stage("evaluate", "refitting on all rows before the test part"):
                final = final or narrowed(features_of(place, dataset.final(), None, plan=features.plan), place.folder / "features")
                final.fading = features.fading
                model = judge.refit(place, final, chosen.trial)
            with place.stage("deploy", "compressing"):
                return _Made(chosen, planned, final, model, deploy(place, final, model, chosen.trial, trials, planned))
        except (BundleError, LimitsError) as error:
            tried += 1
            if isinstance(error, LimitsError):
                broken.append(error)
                left = _smaller(left, chosen.trial, error.shares)
            else:  # what cannot be served is so by its kind
                left = [trial for trial in left if trial.details.get("blueprint") != chosen.trial.details.get("blueprint")]
                left = [trial for trial in left if trial.number in baselines] if tried == _TRIES - 1 else left
            if tried == _TRIES or not any(trial.status == "complete" for trial in left):
                raise min(broken, key=lambda one: max(one.shares.values()), default=error) from None
            place.note(f"trial {chosen.trial.number} cannot be served: {error.message}; the next best one is tried")


def _smaller(trials: Sequence[Trial], chosen: Trial, shares: Mapping[str, float]) -> list[Trial]:
    """Return the trials that would keep to the limits if they were compressed as much as the chosen one, which does not."""
    costs = {"max_bytes": attrgetter("cost.bytes"), "max_latency_ms": attrgetter("cost.latency_ms")}
    broken = [(costs[name], share) for name, share in shares.items() if name in costs]
    return [one for one in trials if one is not chosen and all(of(one) * share <= of(chosen) for of, share in broken)]


def _baselines(place: Workplace, final: FeatureSet, found: SearchResult, state: Search, served: Measured) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for number, name in state.baselines.items():
        trial = found.trials[number]
        test = judge.measure(judge.refit(place, final, trial).module, final, place) if trial.status == "complete" else None
        difference = judge.compare_quality(served.quality, test.quality, place.recipe.seed) if test else None
        rows[name] = baseline_row(trial, test, difference)
    for record in place.journal.records():
        if record["kind"] == "skipped":
            empty: dict[str, Any] = {"valid": None, "test": None, "slices": {}, "served_minus_this": None}
            rows[record["component"]] = {"status": "skipped", **empty, "error": record["reason"]}
    return rows


def _why_nothing(found: SearchResult) -> str:
    reasons: dict[str, int] = {}
    trial: Trial
    for trial in found.trials:
        last = trial.error.strip().splitlines()[-1] if trial.error.strip() else ""
        key = f"{trial.status}: {last}"[:160]
        reasons[key] = reasons.get(key, 0) + 1
    return "no candidate could be evaluated (" + "; ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items())) + ")"
