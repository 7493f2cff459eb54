"""`refresh`: the front of a run scored again on new data: each of its candidates is trained there, and none is searched for."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import SearchError, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.plan import free_memory
from autorec_kernel.records.trial import Trial
from autorec_kernel.search.choose import choose
from autorec_kernel.search.front import best_of, front_of
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.tasks import FEATURES, threads_limited
from autorec_kernel.space import Genotype
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.identity import check_same
from autorec_kernel.stages.prepare import device_of, open_table
from autorec_kernel.stages.result import trial_row
from autorec_kernel.stages.search import metric_of
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder
from autorec_studies.original import Original, read_original
from autorec_studies.trained import features_again, goal_of, trained

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["refresh"]


def refresh(
    run: Path,
    kernel: Kernel,
    folder: Path,
    data: Any,
    *,
    users: Any = None,
    items: Any = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train the front and the baselines of a run on new data, in full, and say which wins now.

    Features are fitted again by the run's plan and selection, if the run folder still has them, else planned anew. No test row of the new
    data is looked at.

    Args:
        run: The folder of a finished run.
        folder: A new folder; it gets a journal of the results, and `refresh.json`.
        data, users, items: The new tables, with the columns of the old ones.

    Returns:
        What `refresh.json` holds: a row a candidate with its old and new metric, the winner then and now.

    Raises:
        UsageError: The run has not ended, or was no run from a table.
        SearchError: No candidate could be trained on the new data.
    """
    original, result = read_original(run), _result(run)
    recipe = original.recipe(workers)
    make_folder(folder)
    with Journal.open(folder / "journal.jsonl") as journal, threads_limited(recipe.threads):
        place = Workplace(folder, recipe, kernel, journal, reporter or Silent(), device=device_of(recipe))
        journal.append("session_started", time=time.time(), spent=0.0, budget=None, memory=free_memory())
        with place.stage("data", "reading the table"):
            dataset = open_table(data, recipe, kernel, users, items)
            check_same(place, dataset)
        with place.stage("features", "building features"):
            features = features_again(place, dataset, run / FEATURES)
        with place.stage("search", "training the front again"):
            trials = trained(place, features, _candidates(original, result))
        found = _told(place, features, original, result, trials)
        place.write_json("refresh.json", found)
        journal.append("finished", trial=found["served"]["is"])
        journal.append("session_ended", elapsed=place.elapsed(), time=time.time())
    return found


def _result(run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run / "result.json").read_bytes())
    except (OSError, ValueError) as error:
        hint = "the folder of a run that has ended has a result.json"
        raise UsageError(f"this run has no result with a front: {error}", where=str(run), hint=hint) from error
    return found


def _candidates(original: Original, result: Mapping[str, Any]) -> dict[int, Trial]:
    """Return the front, what was served and the baselines as trials, by their numbers in the run."""
    rows = {int(row["trial"]): row for batch in original.batches for row in batch}
    numbers = {int(row["trial"]) for row in (*result["front"], result["best"])}
    numbers |= {int(row["trial"]) for row in result["baselines"].values() if row.get("trial") is not None}
    return {
        number: Trial(number, Genotype(rows[number]["genotype"]), "stopped", reason=str(rows[number]["reason"]))
        for number in sorted(numbers)
    }


def _told(place: Workplace, features: FeatureSet, original: Original, result: Mapping[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    metric = metric_of(place)
    baselines = {int(row["trial"]): name for name, row in result["baselines"].items() if row.get("trial") is not None}
    chosen = choose(
        judge.answering(trials, features.schema, place.recipe.task),
        list(baselines),
        lambda one, other: judge.trial_comparison(place, features, one, other),
    )
    if chosen is None:
        reasons = "; ".join(sorted({trial.error.splitlines()[-1] for trial in trials if trial.error}))
        raise SearchError(f"no candidate of the front could be trained on the new data: {reasons}"[:1000], where=str(place.folder))
    old = _old(original, trials)
    rows = [
        {
            **trial_row(trial),
            "baseline": baselines.get(trial.number, ""),
            "old": old[trial.number].get(metric),
            "new": trial.metrics.get(metric),
            "status": trial.status,
            "error": trial.error,
        }
        for trial in trials
    ]
    return {
        "run": str(original.folder),
        "metric": metric,
        "data": {"was": original.header["data"], "is": next(r["data"] for r in place.journal.records() if r["kind"] == "run")},
        "candidates": rows,
        "front": [trial.number for trial in front_of(trials)],
        "served": {"was": int(result["best"]["trial"]), "is": chosen.trial.number, "reason": chosen.reason},
        "best": {"was": _first(old, metric, goal_of(place)), "is": getattr(best_of(trials), "number", None)},
        "comparison": chosen.to_json()["against_best_baseline"],
        "seconds": round(place.elapsed(), 3),
        "notes": list(place.notes),
    }


def _old(original: Original, trials: Sequence[Trial]) -> dict[int, Mapping[str, Any]]:
    """Return the metrics that the trials had in the run, of the highest rung that they completed."""
    found: dict[int, Mapping[str, Any]] = {trial.number: {} for trial in trials}
    for (number, _), evaluation in sorted(original.results.items(), key=lambda entry: entry[0]):
        if number in found and evaluation.status == "complete":
            found[number] = evaluation.metrics
    return found


def _first(metrics: Mapping[int, Mapping[str, Any]], metric: str, goal: Objectives) -> int | None:
    """Return which of the candidates had the best metric."""
    known = {number: float(row[metric]) for number, row in metrics.items() if row.get(metric) is not None}
    sign = 1.0 if goal.maximise else -1.0
    return max(known, key=lambda number: (sign * known[number], -number), default=None)
