"""Evaluation stage: choose by validation, fix the plan, refit on all rows before the test part, then open the test view once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.deploy.quality import Quality, gain
from autorec_kernel.evaluation import Comparison, bootstrap_interval
from autorec_kernel.models import evaluate_ranking, row_metrics, task_metrics
from autorec_kernel.records.trial import Trial
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.stages.search import evaluator_of, metric_of
from autorec_kernel.stages.slices import slices_of

if TYPE_CHECKING:
    from autorec_kernel.contracts.evaluator import Evaluator
    from autorec_kernel.features import EvaluationSet, FeatureSet
    from autorec_kernel.features.feature_set import Split
    from autorec_kernel.records.features import FeatureSchema
    from autorec_kernel.records.model import TrainedModel
    from autorec_kernel.stages.workplace import Workplace

__all__ = [
    "METRICS",
    "Measured",
    "answering",
    "compare_quality",
    "context_for",
    "measure",
    "plan_digest",
    "refit",
    "restored",
    "trial_comparison",
]

METRICS: Mapping[str, tuple[str, ...]] = {
    "recommend": ("ndcg@10", "hr@10", "recall@10", "precision@10", "mrr@10", "map@10", "coverage@10", "novelty@10"),
    "click": ("auc", "log_loss", "gauc"),
    "rate": ("rmse", "mae"),
}
_INTERVAL = 4  # stage of the run's randomness for intervals


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a model reaches on the test rows.

    Args:
        metrics: Metric → value; None = undefined.
        quality: The run's metric with its per-user or per-row parts.
        interval: 95 % interval of the run's metric; None for AUC and RMSE, which are compared in pairs instead.
        slices: What `slices_of` found of the run's metric.
        asked: The users that lists were judged for; None where rows were.
    """

    metrics: Mapping[str, float | None]
    quality: Quality
    counts: Mapping[str, int]
    interval: tuple[float, float] | None = None
    slices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: EvaluationSet | None = None


def context_for(place: Workplace, features: FeatureSet, trial: int, deadline: float | None = None) -> EvaluationContext:
    """Return the context in which the evaluator restores or refits a trial."""
    folder = place.folder / ARTEFACTS
    folder.mkdir(parents=True, exist_ok=True)
    return EvaluationContext(
        kernel=place.kernel,
        features=features,
        task=place.recipe.task,
        metric=metric_of(place),
        seed=place.recipe.seed,
        trial=trial,
        folder=folder,
        device=place.device,
        threads=place.recipe.threads,
        deadline=deadline,
    )


def refit(place: Workplace, features: FeatureSet, trial: Trial, deadline: float | None = None) -> TrainedModel:
    """Train a trial's candidate on every row of `features`, at the latest until the deadline."""
    evaluator: Evaluator = place.kernel.create("evaluator", evaluator_of(place.kernel, place.recipe), **place.recipe.evaluator_options)
    return evaluator.refit(trial.genotype, trial.details, context_for(place, features, trial.number, deadline))


def restored(place: Workplace, features: FeatureSet, trial: Trial) -> TrainedModel:
    """Return a trial's model as it was judged; trained again when its weights are gone."""
    evaluator: Evaluator = place.kernel.create("evaluator", evaluator_of(place.kernel, place.recipe), **place.recipe.evaluator_options)
    number = int(trial.details.get("same_as", trial.number))
    context = context_for(place, features, number)
    found = evaluator.restore(trial.genotype, trial.artefacts, context) or evaluator.refit(trial.genotype, trial.details, context)
    return replace(found, provenance={**found.provenance, "epochs": int(trial.details.get("best_epoch", 0))})


def measure(network: Any, features: FeatureSet, place: Workplace, split: Split = "test") -> Measured:
    """Measure a network (or an exported graph) on a split."""
    task, metric = place.recipe.task, metric_of(place)
    if task == "recommend":
        names = tuple(dict.fromkeys((metric, *METRICS[task])))
        asked = _asked(features, place, split)
        found = evaluate_ranking(network, features, asked, names)
        values = found.values[metric]
        rng = np.random.default_rng(np.random.SeedSequence(place.recipe.seed, spawn_key=(_INTERVAL,)))
        span = bootstrap_interval(values, rng) if len(values) else None
        quality = Quality(metric, float(found.mean()[metric] or 0.0), values)
        told = (span.low, span.high) if span and np.isfinite([span.low, span.high]).all() else None  # one user has no interval
        return Measured(found.mean(), quality, found.counts, told, slices_of(quality, features, task, split, asked.users), asked)
    label = network.tasks[0]
    rows, predictions = row_metrics(network, features, split, label, METRICS[task])
    labels = features.labels(label)[features.rows(split)]
    parts = np.asarray(rows.contributions.get(metric, predictions.astype(np.float64)))
    every = {**rows.values, **task_metrics(network, features, split)}
    quality = Quality(metric, rows.values[metric] or 0.0, parts, labels, task == "click")
    return Measured(every, quality, rows.counts, slices=slices_of(quality, features, task, split))


def _asked(features: FeatureSet, place: Workplace, split: Split) -> EvaluationSet:
    """Return whom lists are judged for: everybody, or a sample by the seed, the same for every model of the run."""
    every = features.evaluation(split)
    rng = np.random.default_rng(np.random.SeedSequence(place.recipe.seed, spawn_key=(_INTERVAL, 1)))
    return every.sample(place.recipe.test_users, rng) if place.recipe.test_users else every


def compare_quality(first: Quality, second: Quality, seed: int) -> Comparison | None:
    """Return first minus second, positive = first is better, on the same users or rows; None when it cannot be told."""
    return gain(first, second, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_INTERVAL,))))


def answering(trials: Sequence[Trial], schema: FeatureSchema, task: str) -> Sequence[Trial]:
    """Return the trials that may be served: where several labels were named, those that predict all of them, if there are any."""
    if task == "recommend" or len(schema.tasks) < 2:
        return trials
    whole = [trial for trial in trials if trial.status == "complete" and set(trial.details.get("tasks", ())) == set(schema.tasks)]
    return whole or trials


def trial_comparison(place: Workplace, features: FeatureSet, first: Trial, second: Trial) -> Comparison | None:
    """Compare two trials on the validation rows, from the values that their evaluations stored."""
    one, other = (_validation_values(place, features, trial) for trial in (first, second))
    return None if one is None or other is None else compare_quality(one, other, place.recipe.seed)


def _validation_values(place: Workplace, features: FeatureSet, trial: Trial) -> Quality | None:
    path = place.folder / ARTEFACTS / trial.artefacts.get("values", "")
    if not path.is_file():
        return None
    parts, metric = np.load(path, allow_pickle=False), metric_of(place)
    if place.recipe.task == "recommend":
        return Quality(metric, trial.value, parts)
    labels = features.labels()[features.rows("valid")].astype(np.float64)
    if metric == "rmse":
        return Quality(metric, trial.value, (parts - labels) ** 2, labels, False)
    return Quality(metric, trial.value, parts, labels) if metric == "auc" else None


def plan_digest(trial: Trial, steps: list[dict[str, Any]]) -> str:
    """Return the digest of what will be measured on the test rows: once it is fixed, the test view may be opened."""
    decided = [{key: value for key, value in step.items() if key != "measured"} for step in steps]
    shown = json.dumps([dict(trial.genotype), trial.number, decided], sort_keys=True, default=list)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]
