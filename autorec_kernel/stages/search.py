"""Search stage: baselines, blueprints and what the strategy proposes, under the run's budget."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.deploy.targets import target_of
from autorec_kernel.errors import PluginError, UsageError
from autorec_kernel.evaluation import default_metric, parse_metric
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Evaluation, SearchResult, Trial
from autorec_kernel.registry.faults import guarded
from autorec_kernel.search.fixed import TRAINING, fixed_options
from autorec_kernel.search.genes import ROLES, Offer, assemble_space, chosen_among, decode, offers
from autorec_kernel.search.inprocess import run_here
from autorec_kernel.search.judged import judged
from autorec_kernel.search.loop import Search
from autorec_kernel.search.presets import described
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.search.tasks import run_task
from autorec_kernel.space import Genotype, SearchSpace
from autorec_kernel.stages.prepared import prepared

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.features import FeatureSchema
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["metric_of", "predicted_seconds", "search", "space_of", "strategy_of", "workers_of"]

Submit = Callable[[Task], "Future[Evaluation]"]
_EXPORT_SECONDS = 20.0  # the compression plan and two exports, of which torch's tracing is most
_ROOM = 4  # times the bytes that a recipe allows what is served: eight bits a weight
_LEEWAY = 24.0  # seconds at most that the rest of a run may take beyond what is predicted


def search(
    place: Workplace, features: FeatureSet, submit: Submit, *, sizes: tuple[int, ...] = (), alone: bool = False
) -> tuple[SearchResult, Search]:
    """Run the search and return its result and its final state.

    Args:
        sizes: Of the batches to go through, instead of the recipe's budget: those of another search.
        alone: Whether no stage comes after it, so that it may use the whole budget.
    """
    recipe, kernel = place.recipe, place.kernel
    fitting, space = space_of(kernel, recipe, features.schema)
    settings = replace(_settings(place), sizes=sizes)
    strategy = kernel.create("search-strategy", strategy_of(place), **recipe.strategy_options)
    session, broken = guarded(lambda: strategy.start(space, settings.goal.told))
    if broken or session is None:
        raise PluginError(f"search strategy {strategy_of(place)!r} cannot start: {broken}", hint="--strategy ID chooses another")
    settings = replace(settings, artefacts=prepared(place, features, settings, space))
    place.journal.flush()
    for offer in fitting:
        if offer.reason:
            place.note(f"{offer.id} does not fit this data: {offer.reason}")
    place.reporter.note(described(space, recipe.search_space))
    _journal_space(place, space, fitting)
    found = Search(
        kernel=kernel,
        space=space,
        schema=features.schema,
        session=session,
        submit=submit,
        journal=place.journal,
        settings=settings,
        offers=fitting,
        seconds_of=lambda genotype: predicted_seconds(genotype, place, features),
        progress=functools.partial(_tell, place),
        reserve=None if alone else functools.partial(_needed_after, place, features.seconds),
        elapsed=place.elapsed,
    )
    return found.run(), found


def space_of(kernel: Kernel, recipe: Recipe, schema: FeatureSchema) -> tuple[tuple[Offer, ...], SearchSpace]:
    """Return what the recipe lets compete on these features, and the part of its space that the evaluator judges."""
    evaluator = evaluator_of(kernel, recipe)
    fixed = fixed_options(kernel, recipe.fixed, evaluator, ROLES)
    wanted = [kernel.find("blueprint", name).id for name in recipe.blueprints]
    found = offers(kernel, recipe.task, schema, fixed, recipe.search_space, wanted)
    fitting = chosen_among(kernel, found, recipe.blueprints)
    space = assemble_space(kernel, fitting, schema, evaluator, recipe.defaults, fixed, recipe.search_space)
    judge = kernel.create("evaluator", evaluator, **recipe.evaluator_options)
    return judged(judge, evaluator, fitting, space.with_defaults(_starts(recipe, space)))


def _starts(recipe: Recipe, space: SearchSpace) -> dict[str, Any]:
    """Return gene → value of those options of the evaluator that are genes: what the recipe sets is where the search starts."""
    given = {f"{role}.{TRAINING}.{option}": value for role in ROLES for option, value in recipe.evaluator_options.items()}
    known = {name: value for name, value in given.items() if name in space and name not in recipe.defaults}
    return {name: value for name, value in known.items() if space[name].domain.contains(value)}


@contextmanager
def submitting(place: Workplace, features: FeatureSet) -> Iterator[Submit]:
    """Open the executor plugin if there is one, else evaluate in this process."""
    executor, reason = _executor(place)
    if executor is None:
        place.note(f"{reason}: candidates are evaluated one by one in this process, without hard deadlines")
        yield run_here(lambda task: run_task(task, place.kernel, features))
        return
    try:
        yield executor.submit
    finally:
        executor.close()


def _executor(place: Workplace) -> tuple[Any, str]:
    """Return the started executor, or None and why there is none; one that was asked for by name must work."""
    stated = place.recipe.executor
    name = place.kernel.find("executor", stated).id if stated != "auto" else preferred(place.kernel, "executor")
    if name is None:
        return None, "no executor is installed"
    executor, broken = guarded(lambda: _started(place, name))
    if broken and stated != "auto":
        raise PluginError(f"executor {name!r} cannot be started: {broken}")
    return executor, f"executor {name!r} cannot be started ({broken})"


def _started(place: Workplace, name: str) -> Any:
    executor = place.kernel.create("executor", name)
    executor.start(place.kernel.origin(), workers_of(place))
    return executor


def preferred(kernel: Kernel, kind: str) -> str | None:
    """Return the id of the usable component tagged `default`, else of the one tagged `fallback`, else the first; None without any."""
    rows = [row for row in kernel.components(kind) if row.usable]
    for tag in ("default", "fallback"):
        tagged = [row.id for row in rows if tag in row.tags]
        if tagged:
            return tagged[0]
    return rows[0].id if rows else None


def metric_of(place: Workplace) -> str:
    """Return the metric the run optimises."""
    return place.recipe.metric or default_metric(place.recipe.task)


def strategy_of(place: Workplace) -> str:
    """Return the id of the strategy: the recipe's, or the preferred one of those installed."""
    return _named(place.kernel, "search-strategy", place.recipe.strategy)


def evaluator_of(kernel: Kernel, recipe: Recipe) -> str:
    """Return the id of the evaluator: the recipe's, or the preferred one of those installed."""
    return _named(kernel, "evaluator", recipe.evaluator)


def check_metric(recipe: Recipe) -> None:
    """Check that the recipe's metric exists and belongs to its task, before anything is read.

    Raises:
        UsageError: It does not.
    """
    if recipe.metric and recipe.task not in parse_metric(recipe.metric)[0].tasks:
        default = default_metric(recipe.task)
        raise UsageError(f"metric {recipe.metric!r} does not judge the task {recipe.task!r}", hint=f"for example --metric {default}")


def _named(kernel: Kernel, kind: str, stated: str) -> str:
    if stated != "auto":
        return kernel.find(kind, stated).id
    name = preferred(kernel, kind)
    if name is None:
        raise PluginError(f"this needs a {kind.replace('-', ' ')}, and no installed plugin provides a usable one")
    return name


def workers_of(place: Workplace) -> int:
    """Return the number of worker processes."""
    if place.device != "cpu":
        return 1
    return place.recipe.workers or max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def limits_of(place: Workplace) -> dict[str, float]:
    """Return the hard limits of candidates.

    What is served keeps to the target's limits. A candidate may take more bytes than the recipe states, since it is compressed after the
    search, but no more than a target of that name allows anyway.
    """
    recipe, target = place.recipe, target_of(place.recipe)
    usual = target_of(recipe.model_copy(update={"max_bytes": 0.0})).max_bytes
    loose = min(_ROOM * recipe.max_bytes, max(recipe.max_bytes, float(usual))) if usual else _ROOM * recipe.max_bytes
    stated = {
        "max_params": recipe.max_params,
        "max_bytes": loose if recipe.max_bytes else float(usual),
        "max_latency_ms": target.max_latency_ms,
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
        shares=recipe.rungs,
        eta=recipe.eta,
        schedule=recipe.schedule,
        objectives=recipe.objectives,
        weights={str(name): weight for name, weight in recipe.weights.items()},
        evaluator=evaluator_of(place.kernel, recipe),
        options=recipe.evaluator_options,
        limits=limits_of(place),
        device=place.device,
        threads=recipe.threads,
        parallel=0 if recipe.seconds is None else workers,
    )


def predicted_seconds(genotype: Genotype, place: Workplace, features: FeatureSet) -> float:
    """Return the predicted seconds of a full training."""
    candidate = decode(genotype, features.schema, place.kernel)
    cost = estimate_cost(candidate.architecture, candidate.features, place.kernel, DeviceProfile(), batch_size=1024, epochs=10)
    return cost.train_seconds


def _needed_after(place: Workplace, building: float, trials: Sequence[Trial]) -> float:
    """Predict the seconds after the search: features again, the baselines and the winner refitted and measured, export, bundle.

    Args:
        building: Seconds that the features took, without audit and selection, which are not repeated.

    Baselines of equal predicted cost share one closed form, which the second of them finds solved.
    """
    complete = [trial for trial in trials if trial.status == "complete"]
    best = max(complete, key=lambda trial: trial.objectives[:1], default=None)
    winner = best.measured.get("seconds", 0.0) if best is not None else 0.0  # a later one keeps time for its own refit free
    simple: dict[float, float] = {}
    for trial in complete:
        if trial.reason.startswith("baseline"):
            key = trial.cost.train_seconds
            simple[key] = max(simple.get(key, 0.0), trial.measured.get("seconds", 0.0))
    students = 0.0 if place.recipe.task == "recommend" else 0.04 * (place.recipe.seconds or 0.0)  # their teachers are refitted
    fixed = _EXPORT_SECONDS + 2 * building + min(0.08 * (place.recipe.seconds or 0.0), _LEEWAY) + students
    return fixed + 1.2 * (sum(simple.values()) + winner)


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
