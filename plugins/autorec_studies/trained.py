"""Candidates of a run trained once more, on features that are fitted again by the run's plan; each result goes to a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.selection import apply_selection, read_selection
from autorec_kernel.records.trial import Evaluation, Trial
from autorec_kernel.search.front import best_of
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.tasks import FEATURES
from autorec_kernel.stages.prepare import features_of, selected
from autorec_kernel.stages.search import evaluator_of, limits_of, metric_of, submitting

if TYPE_CHECKING:
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["features_again", "goal_of", "trained"]


def features_again(place: Workplace, dataset: Dataset, stored: Path) -> FeatureSet:
    """Build the features of new data as those of a run were built, into the folder of the workplace.

    Args:
        stored: The feature set of the run; if it is gone, features are planned anew, and that is noted.
    """
    known = (stored / "features.json").is_file()
    plan = FeatureSet.load(stored).plan if known else None
    features = features_of(place, dataset, place.folder / FEATURES, plan=plan)
    chosen = read_selection(stored) if known else None
    if chosen is not None:
        apply_selection(features, chosen, place.folder / FEATURES)
    elif not known:
        place.note("the features of the run are gone: they were planned anew on the new data")
        selected(features, place.kernel, place.recipe, place.folder / FEATURES, seconds=0.0)
    place.same("features", digest=features.digest)
    return features


def trained(place: Workplace, features: FeatureSet, candidates: Mapping[int, Trial]) -> list[Trial]:
    """Train every candidate in full, and journal its result."""
    rows = [{"trial": number, "genotype": dict(one.genotype), "parent": None, "reason": one.reason} for number, one in candidates.items()]
    place.journal.append("batch", batch=0, proposals=rows)
    found = []
    with submitting(place, features) as submit:
        waiting = [(trial, submit(_task(place, trial))) for trial in candidates.values()]
        for trial, future in waiting:
            evaluation = future.result()
            place.journal.append("result", trial=trial.number, rung=0, evaluation=evaluation.to_json())
            found.append(_settled(place, trial, evaluation))
            share = len(found) / len(waiting)
            place.reporter.trial(found[-1], number=trial.number, total=len(waiting), best=best_of(found), share=share)
    return found


def goal_of(place: Workplace) -> Objectives:
    """Return what trials are compared by: the metric of the run."""
    metric = metric_of(place)
    return Objectives(metric, parse_metric(metric)[0].higher_is_better)


def _task(place: Workplace, trial: Trial) -> Task:
    recipe = place.recipe
    return Task(
        run=str(place.folder),
        trial=trial.number,
        rung=0,
        share=1.0,
        genotype=dict(trial.genotype),
        evaluator=evaluator_of(place.kernel, recipe),
        seed=recipe.seed,
        threads=recipe.threads,
        device=place.device,
        task=recipe.task,
        metric=metric_of(place),
        limits=limits_of(place),
        options=dict(recipe.evaluator_options),
    )


def _settled(place: Workplace, trial: Trial, found: Evaluation) -> Trial:
    return replace(
        trial,
        status=found.status,
        metrics=found.metrics,
        objectives=goal_of(place).of(found),
        cost=found.cost,
        error=found.error,
        artefacts=found.artefacts,
        details=found.details,
    )
