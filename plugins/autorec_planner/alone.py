"""`compress`: the deployment stage alone, on the folder of a run whose search is over, for another target or other limits."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import parse_config
from autorec_kernel.errors import DataError, InfrastructureError, InterruptedRun, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.plan import free_memory
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import SearchResult
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.tasks import ARTEFACTS, FEATURES, threads_limited
from autorec_kernel.stages.finish import finish
from autorec_kernel.stages.identity import check_same, keep_splits
from autorec_kernel.stages.prepare import device_of, open_table
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder
from autorec_planner.finished import Finished, read_finished

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["compress"]

_REST = 0.2  # of the time, for reading, measuring on the test rows and writing


@dataclass(slots=True)
class _Alone(Workplace):
    """A workplace whose time is for deployment: all of it but the refit of the model and what is read and written."""

    refit: float = 0.0

    def share(self, part: str) -> float | None:
        """Return the seconds of a part."""
        total = self.recipe.seconds
        if part != "deploy" or total is None:
            return Workplace.share(self, part)
        return max(0.2 * total, (1 - _REST) * total - self.refit)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What `finish` asks of a search: the trials that it compares the served one with, here none."""

    baselines: Mapping[int, str] = field(default_factory=dict)


def compress(
    run: Path,
    kernel: Kernel,
    folder: Path | None = None,
    *,
    seconds: float = 600.0,
    target: str = "",
    limits: Mapping[str, Any] | None = None,
    data: Any = None,
    users: Any = None,
    items: Any = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Plan the compression of what a run serves again, and write another bundle; that of the run is not touched.

    The model is taken up as it was judged (features and weights of the run are linked, not copied), the plan is made anew, the model is
    refitted on all rows before the test part, compressed, and measured on the test rows, which is one more opening of them.

    Args:
        run: Folder of a run that has finished, or that found no plan within its limits.
        folder: A new folder; None = `RUN/compressed/TARGET`, or `TARGET-2` and so on where that is taken.
        seconds: For all of it. The refit takes what it takes.
        target: Name or profile file; empty = the run's, with its limits.
        limits: Recipe keys over the target's: max_bytes, max_latency_ms, max_drop, serve_threads, serve_batch.
        data, users, items: Where the tables are; None = where they were.

    Returns:
        What `result.json` of the new folder holds, and `folder`.

    Raises:
        UsageError: The run cannot be taken up, or a target or limit is wrong.
        DataError: The table is not the run's.
        LimitsError: No plan keeps to the limits; the folder holds the journal and `plan.json` with the closest one, and no bundle.
        InfrastructureError: The folder is in use.
    """
    found = read_finished(run)
    recipe = parse_config(Recipe, found.recipe(target, dict(limits or {}), seconds, 0), where=str(run))
    folder = folder or _free(run / "compressed", Path(recipe.target).stem)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        told = "the folder is not empty" if folder.is_dir() else "there is a file already"
        raise InfrastructureError(told, where=str(folder), hint="choose a new folder with --to")
    make_folder(folder)
    try:
        return _compressed(found, recipe, kernel, folder, reporter, seconds, (data, users, items))
    except (DataError, UsageError):
        if not (folder / "plan.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # nothing was made: the next try may have it
        raise


def _free(parent: Path, name: str) -> Path:
    """Return the first of `name`, `name-2`, `name-3` … that holds nothing: an earlier bundle or plan stays as it is."""
    names = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in names if not path.exists() or (path.is_dir() and not any(path.iterdir())))


def _compressed(
    found: Finished, recipe: Recipe, kernel: Kernel, folder: Path, reporter: Reporter | None, seconds: float, tables: tuple[Any, Any, Any]
) -> dict[str, Any]:
    with Journal.open(folder / "journal.jsonl") as journal, threads_limited(recipe.threads):
        place = _Alone(folder, recipe, kernel, journal, reporter or Silent(), device=device_of(recipe), refit=_refit_seconds(found))
        facts = {"spent": 0.0, "budget": seconds, "memory": free_memory(), "run": str(found.folder.absolute())}
        journal.append("session_started", time=time.time(), **facts)
        try:
            result = _deployed(place, found, *tables)
        except KeyboardInterrupt:
            told = "the compression was stopped; the run is as it was"
            raise InterruptedRun(told, where=str(folder), hint="type the command again with a new folder") from None
        finally:
            journal.append("session_ended", elapsed=place.elapsed(), time=time.time())
    return {**result, "folder": str(folder)}


def _deployed(place: Workplace, found: Finished, data: Any, users: Any, items: Any) -> dict[str, Any]:
    with place.stage("data", "reading the table"):
        own, given = data is None, {"users": users, "items": items}
        tables = [table if table is not None else found.table(name) if own else None for name, table in given.items()]
        dataset = open_table(found.table("data") if own else data, place.recipe, place.kernel, *tables)
        found.check(dataset)
        check_same(place, dataset)
        keep_splits(place, dataset)
    with place.stage("features", "taking up the features and weights of the run"):
        for name in (FEATURES, ARTEFACTS):
            shutil.copytree(found.folder / name, place.folder / name, copy_function=_linked, dirs_exist_ok=True)
        features = FeatureSet.load(place.folder / FEATURES)
        audit = place.folder / FEATURES / "audit.json"
        place.audit = json.loads(audit.read_bytes()) if audit.is_file() else {}
    if found.openings:
        told = f"the run has opened these test rows {found.openings} time(s)"
        place.note(f"{told}: a choice between its bundles by their test figures favours the chosen one")
    trials = SearchResult(None, (), found.trials, place.elapsed(), "compress")
    return finish(place, dataset, features, trials, _Compared(), only=(found.served,))  # type: ignore[arg-type]


def _refit_seconds(found: Finished) -> float:
    """Return what the training of the served trial took; that of a copy is its original's."""
    by_number = {trial.number: trial for trial in found.trials}
    trial = by_number.get(found.served)
    original = by_number.get(int(trial.details.get("same_as", trial.number))) if trial is not None else None
    return float(original.measured.get("fit_seconds", 0.0)) if original is not None else 0.0


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
