"""The model that a trial of an earlier run was judged by, from the run's folder, in which nothing is written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import parse_config
from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import default_metric, parse_metric
from autorec_kernel.features import FeatureSet
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.journal import read_journal
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.tasks import ARTEFACTS, FEATURES
from autorec_kernel.space import Genotype
from autorec_kernel.stages.search import evaluator_of

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.models import Network

__all__ = ["Source", "read_source"]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A trained network and the features that it was trained on."""

    network: Network
    features: FeatureSet


def read_source(run: Path, trial: int, kernel: Kernel) -> Source:
    """Return what a trial's model was, in eval mode; it is trained again where its weights are gone, or where it was never trained.

    A process reads it once. The folder of the run stays as it is: what has to be trained or solved is written to a temporary one.

    Raises:
        UsageError: The folder holds no run, none of its trials has the number, the trial did not complete, or the features are gone.
    """
    path = run.resolve()
    journal = path / "journal.jsonl"
    return _read(path, trial, kernel, journal.stat().st_mtime_ns if journal.is_file() else 0)


@lru_cache(maxsize=1)
def _read(run: Path, trial: int, kernel: Kernel, written: int) -> Source:
    """Read it as the journal that was `written` last (ns) says."""
    recipe, genotype, found = _trial(run, trial)
    if not (run / FEATURES / "features.json").is_file():
        raise UsageError("the features of this run are gone: nobody knows which row of a table was which id", where=str(run / FEATURES))
    features = FeatureSet.load(run / FEATURES)
    evaluator: Any = kernel.create("evaluator", evaluator_of(kernel, recipe), **recipe.evaluator_options)
    with tempfile.TemporaryDirectory(prefix="autorec-source-", ignore_cleanup_errors=True) as folder:
        _lend(run / ARTEFACTS, Path(folder), found.artefacts.values())
        context = EvaluationContext(
            kernel=kernel,
            features=features,
            task=recipe.task,
            metric=recipe.metric or default_metric(recipe.task),
            seed=recipe.seed,
            trial=int(found.details.get("same_as", trial)),
            folder=Path(folder),
            threads=recipe.threads,
        )
        model = evaluator.restore(genotype, found.artefacts, context) or evaluator.refit(genotype, found.details, context)
    return Source(model.module.eval(), features)


def _lend(store: Path, folder: Path, names: Iterable[str]) -> None:
    """Copy the artefacts of a trial, and link solutions of closed forms, which are replaced and never written into."""
    for name in names:
        if Path(name).name == name and (store / name).is_file():
            shutil.copyfile(store / name, folder / name)
    for path in store.glob("solve-*/*"):
        if path.is_file() and not path.name.startswith("."):
            target = folder / path.parent.name / path.name
            target.parent.mkdir(exist_ok=True)
            _link(path, target)


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(path)
    except OSError:  # the system has no links for everyone
        shutil.copyfile(path, target)


def _trial(run: Path, trial: int) -> tuple[Recipe, Genotype, Evaluation]:
    path = run / "journal.jsonl"
    records = read_journal(path) if path.is_file() else ()
    header = next((record for record in records if record["kind"] == "run"), None)
    if header is None:
        raise UsageError("there is no run in this folder", where=str(run), hint="name the folder given as --out")
    stated = dict(header["recipe"])
    for record in records:
        if record["kind"] == "advice":
            stated |= record["changes"]
    recipe = parse_config(Recipe, stated, where=str(run))
    rows = {row["trial"]: row["genotype"] for record in records if record["kind"] == "batch" for row in record["proposals"]}
    results = sorted(
        (record for record in records if record["kind"] == "result" and record["trial"] == trial), key=lambda record: int(record["rung"])
    )
    metric = recipe.metric or default_metric(recipe.task)
    goal = Objectives(metric, parse_metric(metric)[0].higher_is_better)
    kept = goal.settled(Evaluation.from_json(record["evaluation"]) for record in results)
    if trial not in rows or kept is None or kept.status != "complete":
        told = "did not complete" if trial in rows else "is none of the run's"
        raise UsageError(f"trial {trial} {told}", where=str(run), hint=f"autorec status {run}")
    return recipe, Genotype(rows[trial]), kept
