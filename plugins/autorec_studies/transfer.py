"""`transfer`: a found architecture with its weights on new data: fine-tuned, compared with training from scratch, made a bundle."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import SearchError, UnknownNameError, UsageError
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.plan import free_memory
from autorec_kernel.records.trial import Evaluation, SearchResult, Trial
from autorec_kernel.search.fixed import TRAINING
from autorec_kernel.search.front import best_of, front_of
from autorec_kernel.search.genes import PIPELINE
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.tasks import FEATURES, threads_limited
from autorec_kernel.space import Genotype
from autorec_kernel.stages.finish import finish
from autorec_kernel.stages.identity import check_same, keep_splits
from autorec_kernel.stages.prepare import audited, device_of
from autorec_kernel.stages.result import clean
from autorec_kernel.stages.search import metric_of
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder
from autorec_studies.kept import genotypes_of, kept, learns, training_options
from autorec_studies.original import Original, read_original
from autorec_studies.relation import check_task, open_related
from autorec_studies.trained import features_again, trained

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe

__all__ = ["RATE", "Tuning", "transfer"]

RATE = 0.5  # of the learning rate of the trial
_EVALUATOR = "training/fine-tuning"
_NAMED = 8  # features that are named
_CARRIED, _FRESH = "transferred", "from scratch"


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the weights of a run are taken up on new data.

    Args:
        trial: Whose weights; None = the one that the run serves.
        epochs: Passes over the new training rows; None = half of those that the trial's best weights took, at least 2.
        rate: Share of the trial's learning rate.
        unrelated: Vocabularies whose ids mean something else in the new data, such as `user`.
        scratch: Whether the same architecture is trained afresh for as many epochs too, to compare with.
    """

    trial: int | None = None
    epochs: int | None = None
    rate: float = RATE
    unrelated: tuple[str, ...] = ()
    scratch: bool = True


@dataclass(frozen=True, slots=True)
class _Compared:
    """What `finish` asks of a search: the trials that it compares the served one with."""

    baselines: Mapping[int, str] = field(default_factory=dict)


def transfer(
    run: Path,
    kernel: Kernel,
    folder: Path,
    data: Any,
    *,
    users: Any = None,
    items: Any = None,
    task: str = "",
    tuning: Tuning | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Fine-tune a trial of a finished run on new data, and write a run folder with a bundle.

    Features are built by the run's plan and fitted on the new data, closed forms are solved there, vocabularies are remapped, and every
    other weight of the same name and shape is taken over. The run's baselines and, unless told otherwise, the same architecture from
    scratch are trained beside it; what is best on the validation rows is served by the rules of a run.

    Args:
        run: The folder of the run.
        folder: A new folder; it gets all that a run has, and `transfer.json`.
        data, users, items: The new tables, with the columns of the old ones.
        task: To be sure of the task; empty = that of the run.

    Returns:
        What `transfer.json` holds: what was carried over, validation and test metrics of both starts, the epochs that each took to reach
        the best of training from scratch, and which is served.

    Raises:
        UsageError: The run has not ended, its features are gone, or it learnt another task.
        DataError: The new table lacks a column, or holds other values in it.
        SearchError: Nothing could be trained on the new data.
    """
    tuning, original = tuning or Tuning(), read_original(run)
    ended, number = _ended(run), tuning.trial
    if number is None:
        number = _served(run, ended)
    recipe = original.recipe(workers)
    check_task(task, recipe, str(run))
    was, stored = _stored(run), kept(original, number)
    _check_vocabularies(was, tuning.unrelated)
    recipe = recipe.model_copy(update={"evaluator": _EVALUATOR, "evaluator_options": _options(kernel, recipe, run, number, stored, tuning)})
    make_folder(folder)
    with Journal.open(folder / "journal.jsonl") as journal, threads_limited(recipe.threads):
        place = Workplace(folder, recipe, kernel, journal, reporter or Silent(), device=device_of(recipe))
        journal.append("session_started", time=time.time(), spent=0.0, budget=None, memory=free_memory())
        with place.stage("data", "reading the table"):
            dataset, place.recipe = open_related(data, users, items, recipe, kernel, was.columns)
            check_same(place, dataset)
            keep_splits(place, dataset)
        with place.stage("features", "building features"):
            features = features_again(place, dataset, run / FEATURES)
            _note_lost(place, was, features)
            place.audit = audited(dataset, features, kernel, place.recipe, folder / FEATURES).to_json()
        with place.stage("search", "fine-tuning"):
            able = learns(kernel, was, genotypes_of(original)[number])
            candidates = _candidates(original, ended, number, able, tuning, place.recipe.evaluator_options)
            trials = trained(place, features, {one.number: one for one in candidates})
        compared, found = _search_result(place, trials)
        result = finish(place, dataset, features, found, compared)  # type: ignore[arg-type]
        told = _told(place, original, number, trials, result)
        place.write_json("transfer.json", told)
        journal.append("session_ended", elapsed=place.elapsed(), time=time.time())
    return told


def _ended(run: Path) -> dict[str, Any]:
    """Return the result of a run, or of a search alone; empty when it has none."""
    path = next((run / name for name in ("result.json", "search.json") if (run / name).is_file()), None)
    return {} if path is None else dict(json.loads(path.read_bytes()))


def _served(run: Path, ended: Mapping[str, Any]) -> int:
    row = ended.get("chosen") or ended.get("best")
    if not row:
        hint = f"autorec status {run} says how to go on with it; or name one of its trials with --trial"
        raise UsageError("this run has not finished: it has no result that says what it serves", where=str(run), hint=hint)
    return int(row["trial"])


def _stored(run: Path) -> FeatureSet:
    if not (run / FEATURES / "features.json").is_file():
        hint = "without them nobody knows which row of a table was which id: start a new run"
        raise UsageError("the features of this run are gone", where=str(run / FEATURES), hint=hint)
    return FeatureSet.load(run / FEATURES)


def _note_lost(place: Workplace, was: FeatureSet, now: FeatureSet) -> None:
    """Say which features of the run the new data does not give: tensors that have a place for each of them are not carried over."""
    given = {feature.name for feature in now.schema.features}
    lost = [feature.name for feature in was.schema.features if feature.name not in given]
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        place.note(f"features of the run that the new data does not give: {', '.join(lost[:_NAMED])}{more}")


def _check_vocabularies(was: FeatureSet, names: Sequence[str]) -> None:
    known = {"user", "item", *(feature.vocabulary for feature in was.schema.features if feature.vocabulary)}
    for name in names:
        if name not in known:
            raise UnknownNameError("vocabulary", name, known)


def _options(kernel: Kernel, recipe: Recipe, run: Path, number: int, stored: Evaluation, tuning: Tuning) -> dict[str, Any]:
    known = kernel.load("evaluator", _EVALUATOR).Config.model_fields
    own = {name: value for name, value in training_options(kernel, recipe).items() if name in known}
    epochs = tuning.epochs or max(2, math.ceil(int(stored.details.get("best_epoch", 0)) / 2))
    mine = {"run": str(run.resolve()), "trial": number, "unrelated": list(tuning.unrelated), "epochs": epochs, "patience": 0}
    return {**own, **mine}


def _candidates(
    original: Original, ended: Mapping[str, Any], number: int, learns: bool, tuning: Tuning, options: Mapping[str, Any]
) -> list[Trial]:
    """Return the model with the run's weights, the same from scratch, and the run's baselines."""
    rows = genotypes_of(original)
    wanted = [(_CARRIED, _started(rows[number], "run", tuning.rate if learns else None, options))]
    if learns and tuning.scratch:
        wanted.append((_FRESH, _started(rows[number], "fresh", None, options)))
    for name, row in ended.get("baselines", {}).items():
        if row.get("trial") not in (None, number) and row.get("status") == "complete":
            wanted.append((f"baseline {name}", _started(rows[int(row["trial"])], "fresh", None, options)))
    return [Trial(place, genotype, "stopped", reason=reason) for place, (reason, genotype) in enumerate(wanted)]


def _started(genotype: Genotype, start: str, rate: float | None, options: Mapping[str, Any]) -> Genotype:
    """Return a genotype that says what its weights start from, and at which learning rate."""
    head = f"{genotype[PIPELINE]}.{TRAINING}"
    told: dict[str, Any] = {f"{head}.start": start}
    if rate is not None:
        told[f"{head}.learning_rate"] = rate * float(genotype.get(f"{head}.learning_rate", options.get("learning_rate", 2e-3)))
    return Genotype({**genotype, **told})


def _search_result(place: Workplace, trials: Sequence[Trial]) -> tuple[_Compared, SearchResult]:
    """Return what a search would: the better one of both starts competes, the other is only measured beside it."""
    starts = [trial for trial in trials if trial.reason in (_CARRIED, _FRESH)]
    best = best_of(starts)
    others = {trial.number for trial in starts if trial is not best}
    settled = tuple(replace(trial, objectives=()) if trial.number in others else trial for trial in trials)
    names = {trial.number: trial.reason.removeprefix("baseline ") for trial in settled if trial is not best and trial.status == "complete"}
    if best_of(settled) is None:
        reasons = "; ".join(sorted({trial.error.strip().splitlines()[-1] for trial in trials if trial.error.strip()}))
        raise SearchError(f"nothing could be trained on the new data: {reasons}"[:1000], where=str(place.folder))
    competing = [trial for trial in settled if trial.objectives and trial.status == "complete"]
    return _Compared(names), SearchResult(best_of(settled), tuple(front_of(competing)), settled, place.elapsed(), "transfer")


def _told(place: Workplace, original: Original, number: int, trials: Sequence[Trial], result: Mapping[str, Any]) -> dict[str, Any]:
    metric = metric_of(place)
    served = next(trial for trial in trials if trial.number == result["best"]["trial"])
    first = trials[0]
    fresh = next((trial for trial in trials if trial.reason == _FRESH), None)
    return {
        "run": str(original.folder),
        "trial": number,
        "task": place.recipe.task,
        "metric": metric,
        "epochs": int(place.recipe.evaluator_options["epochs"]),
        "carried": first.details.get("carried"),
        "transferred": _row(first, result, metric),
        "scratch": None if fresh is None else _row(fresh, result, metric),
        "reached": None if fresh is None else _reached(first, fresh, metric),
        "served": {"trial": served.number, "what": served.reason, "reason": result["best"]["chosen"]["reason"]},
        "verdict": result["verdict"],
        "bundle": result["bundle"],
        "seconds": round(place.elapsed(), 3),
        "notes": list(place.notes),
    }


def _row(trial: Trial, result: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the metrics of one start: before the first step, by epoch, of its best epoch and on the test rows."""
    rows = [result["best"], *result["baselines"].values()]
    test = next((row["test"] for row in rows if row.get("trial") == trial.number), None)
    values = [_sign(metric) * value for value in trial.details.get("values", ())]
    told = {"before": trial.details.get("before"), "values": values, "best_epoch": trial.details.get("best_epoch")}
    return {"trial": trial.number, "status": trial.status, "error": trial.error, **told, "valid": clean(trial.metrics), "test": test}


def _reached(first: Trial, fresh: Trial, metric: str) -> dict[str, Any]:
    """Return after which epoch each start had what the start from scratch had at best; None = never, 0 = before the first step."""
    target = max(fresh.details.get("values", ()), default=math.inf)
    before = first.details.get("before", {}).get(metric)
    values = [-math.inf if before is None else _sign(metric) * before, *first.details.get("values", ())]
    at = next((epoch for epoch, value in enumerate(values) if value >= target), None)
    return {
        "value": _sign(metric) * target if math.isfinite(target) else None,
        "transferred": at,
        "scratch": fresh.details.get("best_epoch"),
    }


def _sign(metric: str) -> float:
    """Return what turns the values that training maximises into those of the metric."""
    return 1.0 if parse_metric(metric)[0].higher_is_better else -1.0
