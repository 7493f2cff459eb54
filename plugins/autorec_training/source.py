"""The model that a trial of an earlier run was judged by, from the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import parse_config
from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import default_metric
from autorec_kernel.features import FeatureSet
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.journal import read_journal
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
    """Return what a trial's model was, in eval mode; it is trained again where its weights are gone.

    Raises:
        UsageError: The folder holds no run, none of its trials has the number, the trial did not complete, or the features are gone.
    """
    recipe, genotype, found = _trial(run, trial)
    if not (run / FEATURES / "features.json").is_file():
        raise UsageError("the features of this run are gone: nobody knows which row of a table was which id", where=str(run / FEATURES))
    features = FeatureSet.load(run / FEATURES)
    evaluator: Any = kernel.create("evaluator", evaluator_of(kernel, recipe), **recipe.evaluator_options)
    context = EvaluationContext(
        kernel=kernel,
        features=features,
        task=recipe.task,
        metric=recipe.metric or default_metric(recipe.task),
        seed=recipe.seed,
        trial=int(found.details.get("same_as", trial)),
        folder=run / ARTEFACTS,
        threads=recipe.threads,
    )
    model = evaluator.restore(genotype, found.artefacts, context) or evaluator.refit(genotype, found.details, context)
    return Source(model.module.eval(), features)


def _trial(run: Path, trial: int) -> tuple[Recipe, Genotype, Evaluation]:
    path = run / "journal.jsonl"
    records = read_journal(path) if path.is_file() else ()
    header = next((record for record in records if record["kind"] == "run"), None)
    if header is None:
        raise UsageError("there is no run in this folder", where=str(run), hint="name the folder given as --out")
    rows = {row["trial"]: row["genotype"] for record in records if record["kind"] == "batch" for row in record["proposals"]}
    results = [record for record in records if record["kind"] == "result" and record["trial"] == trial]
    complete = [record for record in results if record["evaluation"]["status"] == "complete"]
    if trial not in rows or not complete:
        told = "did not complete" if trial in rows else "is none of the run's"
        raise UsageError(f"trial {trial} {told}", where=str(run), hint=f"autorec status {run}")
    last = max(complete, key=lambda record: int(record["rung"]))
    stated = dict(header["recipe"])
    for record in records:
        if record["kind"] == "advice":
            stated |= record["changes"]
    recipe = parse_config(Recipe, stated, where=str(run))
    return recipe, Genotype(rows[trial]), Evaluation.from_json(last["evaluation"])
