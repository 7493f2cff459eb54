"""`search_alone`: a search on a feature set that is there, without the stages before and after it; it leaves a journal."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import InfrastructureError, InterruptedRun, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.choose import choose
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.tasks import FEATURES, threads_limited
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.advice import advised
from autorec_kernel.stages.identity import spent_seconds
from autorec_kernel.stages.prepare import device_of
from autorec_kernel.stages.result import plugin_versions, status_counts, trial_row
from autorec_kernel.stages.search import check_metric, metric_of, search, strategy_of, submitting
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.trial import SearchResult
    from autorec_kernel.search.loop import Search

__all__ = ["check_search", "link", "open_features", "search_alone"]

_BUDGETS = ("budget", "trials", "workers")  # what a search that goes on may have differently
_NEEDED = ("model-block", "blueprint", "evaluator", "search-strategy")


def search_alone(
    source: Path, recipe: Recipe, kernel: Kernel, folder: Path, *, resume: bool = False, reporter: Reporter | None = None
) -> dict[str, Any]:
    """Search on a saved feature set and return what `search.json` holds.

    Args:
        source: Folder of a feature set, or of a run that holds one; copied (by links, where the disk has them) to `folder`.
        folder: Run folder; made if need be.
        resume: Go on with the search in `folder`.

    Raises:
        UsageError: There is no feature set, or it was built for another task.
        InfrastructureError: The folder cannot be written, or holds another search.
        InterruptedRun: Ctrl-C; the search can be resumed.
    """
    kernel.require(*_NEEDED)
    check_metric(recipe)
    where, features = open_features(source, recipe.task)
    make_folder(folder)
    if (folder / "journal.jsonl").exists() and not resume:
        hint = "add --resume to go on with it, or choose another --out"
        raise InfrastructureError("this folder holds a search already", where=str(folder), hint=hint)
    link(where, folder / FEATURES)
    with Journal.open(folder / "journal.jsonl") as journal, threads_limited(recipe.threads):
        place = Workplace(folder, recipe, kernel, journal, reporter or Silent(), device=device_of(recipe))
        place.spent = spent_seconds(journal.records())
        facts = {"spent": place.spent, "budget": recipe.seconds, FEATURES: str(where.absolute())}
        journal.append("session_started", time=time.time(), **facts)
        check_search(place, features)
        try:
            with place.stage("search", "searching"), submitting(place, features) as submit:
                place.recipe = advised(place, features)
                found, state = search(place, features, submit, alone=True)
        except KeyboardInterrupt:
            raise InterruptedRun("the search was stopped; everything finished is kept", where=str(folder), hint="--resume") from None
        result = _result(place, features, found, state)
        place.write_json("search.json", result)
        journal.append("finished", trial=result["chosen"]["trial"] if result["chosen"] else None)
        journal.append("session_ended", elapsed=place.elapsed(), time=time.time())
    return result


def open_features(source: Path, task: str) -> tuple[Path, FeatureSet]:
    """Return the folder of a feature set, and the set, memory-mapped.

    Raises:
        UsageError: There is none, or it was built for another task.
    """
    where = next((one for one in (source, source / FEATURES) if (one / "features.json").is_file()), None)
    if where is None:
        hint = "autorec features DATA --out DIR writes one"
        raise UsageError("there is no feature set in this folder", where=str(source), hint=hint)
    features = FeatureSet.load(where)
    if features.task != task:
        raise UsageError(
            f"this feature set was built for the task {features.task!r}, not for {task!r}", where=str(where), hint=f"--task {features.task}"
        )
    return where, features


def check_search(place: Workplace, features: FeatureSet) -> None:
    """Write down which search this is, or check that the journal holds the same one.

    Raises:
        InfrastructureError: It is another one.
    """
    stated = {key: value for key, value in place.recipe.model_dump(mode="json").items() if key not in _BUDGETS}
    identity = {"protocol": features.protocol.id, "plugins": plugin_versions(place), "device": place.device}
    place.same("run", recipe=stated, features=features.digest, **identity)
    place.same("features", digest=features.digest)


def link(source: Path, target: Path) -> None:
    """Give the run its feature set: workers read it from the run folder."""
    if target.is_dir() or source.resolve() == target.resolve():
        return
    shutil.copytree(source, target, copy_function=_linked, ignore=shutil.ignore_patterns("log.jsonl*"))


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _result(place: Workplace, features: FeatureSet, found: SearchResult, state: Search) -> dict[str, Any]:
    trials = judge.answering(found.trials, features.schema, place.recipe.task)
    chosen = choose(trials, list(state.baselines), lambda one, other: judge.trial_comparison(place, features, one, other))
    rows: Mapping[str, Any] = {
        name: {**trial_row(found.trials[number]), "status": found.trials[number].status} for number, name in state.baselines.items()
    }
    return {
        "task": place.recipe.task,
        "metric": metric_of(place),
        "protocol": features.protocol.id,
        "strategy": strategy_of(place),
        "recipe": place.recipe.model_dump(mode="json"),
        "features": features.digest,
        "baselines": rows,
        "best": None if found.best is None else trial_row(found.best),
        "chosen": None if chosen is None else {**trial_row(chosen.trial), "chosen": chosen.to_json()},
        "front": [trial_row(trial) for trial in found.front],
        "knee": found.knee,
        "trials": status_counts(found),
        "search": {"stopped_by": found.stopped_by, "trials": len(found.trials)},
        "seconds": round(place.elapsed(), 3),
        "notes": list(place.notes),
    }
