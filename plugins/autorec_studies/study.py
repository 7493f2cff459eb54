"""`write_study`: the trials of a run as an Optuna study, for its dashboard and its plots. The journal stays the only source of truth."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autorec_kernel.deploy.targets import target_of
from autorec_kernel.errors import InfrastructureError
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.objectives import Objectives
from autorec_studies.original import Original, read_original

__all__ = ["write_file", "write_study"]

_Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A proposal, its results, lowest rung first, and how many rungs the best of its batch climbed.

    What learns by epochs and has fewer results than that was stopped by a rung; a closed form is complete at once.
    """

    row: Mapping[str, Any]
    results: Sequence[Evaluation]
    rungs: int


def write_file(run: Path, out: Path) -> None:
    """Write the trials of a run to a new SQLite file, as a study named after the run's folder.

    Raises:
        InfrastructureError: The file is there already, or cannot be written.
    """
    if out.exists():
        raise InfrastructureError("the file is there already", where=str(out), hint="name a new file")
    write_study(run, f"sqlite:///{out}", run.resolve().name)


def write_study(run: Path, storage: str, name: str) -> optuna.Study:
    """Write the trials of a run as a new study.

    A gene is a parameter of the trials that have it, nothing of the others; a list of sizes is its JSON text. The values are the metric in
    its own scale (and costs, where the run has several objectives), or the reward of a run with weights. A trial that a rung stopped is
    PRUNED, with what each rung measured; whatever else did not complete is FAIL. User attributes hold the rest.

    Args:
        storage: URL of an Optuna storage.

    Raises:
        InfrastructureError: The storage has a study of this name, or cannot be written.
    """
    original = read_original(run)
    goal = _goal(original)
    entries = _entries(original)
    domains = _domains([entry.row["genotype"] for entry in entries])
    trials = [_trial(entry, goal, domains) for entry in entries]
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=_directions(goal))
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            study.set_metric_names(list(goal.told))
        for key in ("recipe", "data", "protocol", "plugins", "device"):
            if key in original.header:
                study.set_user_attr(key, original.header[key])
        study.add_trials(trials)
    except optuna.exceptions.DuplicatedStudyError as error:
        hint = "--name calls it differently"
        raise InfrastructureError(f"the storage has a study {name!r} already", where=storage, hint=hint) from error
    except Exception as error:  # whatever the database behind the URL raises
        told = str(error).partition("\n")[0]
        raise InfrastructureError(f"the study cannot be written: {told}", where=storage, hint="--storage sqlite:///study.db") from error
    return study


def _goal(original: Original) -> Objectives:
    recipe, maximise = original.recipe(), parse_metric(original.metric)[0].higher_is_better
    target = target_of(recipe)
    limits = {"max_params": recipe.max_params, "max_bytes": float(target.max_bytes), "max_latency_ms": target.max_latency_ms}
    return Objectives(
        original.metric,
        maximise,
        recipe.objectives,
        {str(key): one for key, one in recipe.weights.items()},
        {key: one for key, one in limits.items() if one},
    )


def _directions(goal: Objectives) -> list[_Direction]:
    if goal.weights:
        return ["maximize"]
    return ["maximize" if name == "metric" and goal.maximise else "minimize" for name in goal.names]


def _values(found: Evaluation, goal: Objectives) -> list[float] | None:
    """Return the values of a complete result in their own scale; None where there are none."""
    values = goal.of(found)
    if not values or goal.weights:
        return list(values) or None
    signs = [1.0 if way == "maximize" else -1.0 for way in _directions(goal)]
    return [sign * value for sign, value in zip(signs, values, strict=True)]


def _entries(original: Original) -> list[_Entry]:
    """Return every proposal with its results, lowest rung first."""
    found: dict[int, list[Evaluation]] = {}
    for (trial, _), result in sorted(original.results.items(), key=lambda entry: entry[0]):
        found.setdefault(trial, []).append(result)
    batches = [[(row, found.get(int(row["trial"]), [])) for row in rows] for rows in original.batches]
    heights = [max((len(results) for _, results in batch), default=0) for batch in batches]
    return [_Entry(row, results, rungs) for batch, rungs in zip(batches, heights, strict=True) for row, results in batch]


def _trial(entry: _Entry, goal: Objectives, domains: Mapping[str, BaseDistribution]) -> FrozenTrial:
    params = {name: _plain(value) for name, value in entry.row["genotype"].items()}
    state, last = _state(entry, goal)
    measured = {rung: values[0] for rung, result in enumerate(entry.results) if (values := _values(result, goal)) is not None}
    return create_trial(
        state=state,
        params=params,
        distributions={name: domains[name] for name in params},
        values=_values(last, goal) if state == TrialState.COMPLETE and last is not None else None,
        intermediate_values=measured if len(_directions(goal)) == 1 else {},
        user_attrs=_attributes(entry.row, last),
    )


def _state(entry: _Entry, goal: Objectives) -> tuple[TrialState, Evaluation | None]:
    """Return how a trial ended, and its result: the best rung's, as the search keeps it."""
    best = goal.settled(entry.results)
    if best is None or best.status != "complete" or not goal.of(best):
        return (TrialState.PRUNED if best and best.status == "stopped" else TrialState.FAIL), best
    left_behind = len(entry.results) < entry.rungs and bool(entry.results[-1].details.get("epochs"))
    return (TrialState.PRUNED if left_behind else TrialState.COMPLETE), best


def _attributes(row: Mapping[str, Any], found: Evaluation | None) -> dict[str, Any]:
    told = {"number": row["trial"], "parent": row["parent"], "reason": row["reason"]}
    if found is None:
        return told
    cost = {"parameters": found.cost.parameters, "bytes": found.cost.bytes, "latency_ms": found.cost.latency_ms}
    shown = {
        name: found.details[name] for name in ("blueprint", "architecture", "best_epoch", "weights", "same_as") if name in found.details
    }
    return {
        **told,
        "status": found.status,
        "error": found.error,
        **{f"valid {name}": one for name, one in found.metrics.items()},
        **cost,
        **shown,
    }


def _domains(genotypes: Iterable[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """Return a distribution of every gene, of the values that the run tried: the journal has the digest of the space, not its domains."""
    values: dict[str, list[Any]] = {}
    for genotype in genotypes:
        for name, value in genotype.items():
            values.setdefault(name, []).append(_plain(value))
    return {name: _domain(found) for name, found in values.items()}


def _domain(values: Sequence[Any]) -> BaseDistribution:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return IntDistribution(min(values), max(values))
    if kinds <= {int, float}:
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high >= 10 * low)
    return CategoricalDistribution(sorted(set(values), key=lambda value: (str(type(value)), str(value))))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else json.dumps(value)
