"""Search stage: baselines, blueprints and what the strategy proposes, under the run's budget."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.deploy.plan import target_named
from autorec_kernel.evaluation import default_metric, parse_metric
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.records.trial import Evaluation, SearchResult, Trial
from autorec_kernel.search.genes import Offer, assemble_space, decode, offers
from autorec_kernel.search.inprocess import run_here
from autorec_kernel.search.loop import Search
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.search.tasks import run_task
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["metric_of", "search", "strategy_of", "workers_of"]

Submit = Callable[[Task], "Future[Evaluation]"]
_PREFERRED = ("bayes/tpe", "search/random")
_EXPORT_SECONDS = 20.0  # the compression plan and two exports, of which torch's tracing is most


def search(place: Workplace, features: FeatureSet, submit: Submit) -> tuple[SearchResult, Search]:
    """Run the search and return its result and its final state."""
    recipe, kernel = place.recipe, place.kernel
    fitting = offers(kernel, recipe.task, features.schema)
    space = assemble_space(kernel, fitting, features.schema, recipe.evaluator)
    settings = _settings(place)
    strategy = kernel.create("search-strategy", strategy_of(place))
    place.journal.flush()
    for offer in fitting:
        if offer.reason:
            place.note(f"{offer.id} does not fit this data: {offer.reason}")
    _journal_space(place, space, fitting)
    found = Search(
        kernel=kernel,
        space=space,
        schema=features.schema,
        session=strategy.start(space, [settings.metric]),
        submit=submit,
        journal=place.journal,
        settings=settings,
        offers=fitting,
        seconds_of=lambda genotype: _seconds(genotype, place, features),
        progress=functools.partial(_tell, place),
        reserve=functools.partial(_needed_after, place),
        elapsed=place.elapsed,
    )
    return found.run(), found


@contextmanager
def submitting(place: Workplace, features: FeatureSet) -> Iterator[Submit]:
    """Open the executor plugin if there is one, else evaluate in this process."""
    rows = [row for row in place.kernel.components("executor") if row.usable]
    if not rows:
        place.note("no executor is installed: candidates are evaluated one by one in this process, without hard deadlines")
        yield run_here(lambda task: run_task(task, place.kernel, features))
        return
    executor = place.kernel.create("executor", rows[0].id)
    executor.start(place.kernel.origin(), workers_of(place))
    try:
        yield executor.submit
    finally:
        executor.close()


def metric_of(place: Workplace) -> str:
    """Return the metric the run optimises."""
    return place.recipe.metric or default_metric(place.recipe.task)


def strategy_of(place: Workplace) -> str:
    """Return the id of the strategy: the recipe's, or the first preferred one that is installed."""
    if place.recipe.strategy != "auto":
        return place.kernel.find("search-strategy", place.recipe.strategy).id
    usable = [row.id for row in place.kernel.components("search-strategy") if row.usable]
    return next((name for name in _PREFERRED if name in usable), usable[0])


def workers_of(place: Workplace) -> int:
    """Return the number of worker processes."""
    if place.device != "cpu":
        return 1
    return place.recipe.workers or max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def limits_of(place: Workplace) -> dict[str, float]:
    """Return the hard limits: the recipe's, else the target's."""
    recipe, target = place.recipe, target_named(place.recipe.target)
    stated = {
        "max_params": recipe.max_params,
        "max_bytes": recipe.max_bytes or float(target.max_bytes),
        "max_latency_ms": recipe.max_latency_ms or target.max_latency_ms,
    }
    return {name: value for name, value in stated.items() if value}


def _settings(place: Workplace) -> SearchSettings:
    recipe, metric = place.recipe, metric_of(place)
    workers = workers_of(place)
    share = place.share("baselines")
    return SearchSettings(
        run=str(place.folder),
        task=recipe.task,
        metric=metric,
        maximise=parse_metric(metric)[0].higher_is_better,
        seed=recipe.seed,
        trials=recipe.trials,
        deadline=place.deadline("search"),
        baseline_seconds=None if share is None else share * workers,
        trial_seconds=place.share("trial") or 0.0,
        batch=recipe.batch,
        evaluator=recipe.evaluator,
        options=recipe.evaluator_options,
        limits=limits_of(place),
        device=place.device,
        threads=recipe.threads,
        parallel=0 if recipe.seconds is None else workers,
    )


def _seconds(genotype: Genotype, place: Workplace, features: FeatureSet) -> float:
    candidate = decode(genotype, features.schema, place.kernel)
    cost = estimate_cost(candidate.architecture, candidate.features, place.kernel, DeviceProfile(), batch_size=1024, epochs=10)
    return cost.train_seconds


def _needed_after(place: Workplace, trials: Sequence[Trial]) -> float:
    """Predict the seconds after the search: features again, the baselines and the winner refitted and measured, export, bundle.

    Baselines of equal predicted cost share one closed form, which the second of them finds solved.
    """
    complete = [trial for trial in trials if trial.status == "complete"]
    spent = [trial.measured.get("seconds", 0.0) for trial in complete]
    simple: dict[float, float] = {}
    for trial in complete:
        if trial.reason.startswith("baseline"):
            key = trial.cost.train_seconds
            simple[key] = max(simple.get(key, 0.0), trial.measured.get("seconds", 0.0))
    fixed = _EXPORT_SECONDS + 2 * place.stages.get("features", 0.0) + 0.08 * (place.recipe.seconds or 0.0)
    return fixed + 1.2 * (sum(simple.values()) + max(spent, default=0.0))


def _journal_space(place: Workplace, space: SearchSpace, fitting: tuple[Offer, ...]) -> None:
    if any(record["kind"] == "space" for record in place.journal.records()):
        return
    rows: list[dict[str, Any]] = [
        {"id": offer.id, "role": offer.role, "baseline": offer.baseline, "reason": offer.reason} for offer in fitting
    ]
    place.same("space", digest=space.digest, genes=len(space), offers=rows, profile=DeviceProfile().to_json())


def _tell(place: Workplace, trial: Trial, state: Search) -> None:
    total = None if state.settings.trials is None else state.settings.trials + len(state.baselines)
    share = 0.0
    deadline = place.deadline("search")
    if deadline is not None and place.recipe.seconds:
        length = place.share("search") or 1.0
        share = min(1.0, max(0.0, 1.0 - (deadline - time.monotonic()) / length))
    elif total:
        share = min(1.0, (trial.number + 1) / total)
    place.reporter.trial(trial, number=trial.number, total=total, best=state.best, share=share)
