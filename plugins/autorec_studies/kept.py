"""What a run says of one of its trials: the result that the search kept, and how its model is trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from autorec_kernel.contracts.evaluator import PROVISIONAL
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.models import build_network
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.fixed import TRAINING
from autorec_kernel.search.genes import decode
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.space import Genotype
from autorec_kernel.space.config_genes import genes_of
from autorec_kernel.stages.search import evaluator_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe
    from autorec_studies.original import Original

__all__ = ["genotypes_of", "kept", "learns", "training_options"]


def kept(original: Original, number: int) -> Evaluation:
    """Return the result that the search kept: a higher rung that failed or fell behind took away only what was provisional.

    Raises:
        UsageError: The trial did not complete.
    """
    goal = Objectives(original.metric, parse_metric(original.metric)[0].higher_is_better)
    last: Evaluation | None = None
    for _, found in sorted(((place, found) for place, found in original.results.items() if place[0] == number), key=lambda entry: entry[0]):
        reached = last is not None and last.status == "complete" and not last.details.get(PROVISIONAL)
        worse = last is not None and (goal.of(found) or (-math.inf,)) < (goal.of(last) or (-math.inf,))
        if not (reached and (worse or found.status != "complete")):
            last = found
    if last is None or last.status != "complete":
        raise UsageError(
            f"trial {number} of this run did not complete", where=str(original.folder), hint=f"autorec status {original.folder}"
        )
    return last


def genotypes_of(original: Original) -> dict[int, Genotype]:
    """Return trial → genotype of all proposals."""
    return {int(row["trial"]): Genotype(row["genotype"]) for batch in original.batches for row in batch}


def learns(kernel: Kernel, was: FeatureSet, genotype: Genotype) -> bool:
    """Return whether a model learns by gradient, however its trial was judged; a closed form is solved anew, and that is all."""
    candidate = decode(genotype, was.schema, kernel)
    return build_network(candidate.architecture, candidate.features, kernel).trainable


def training_options(kernel: Kernel, recipe: Recipe) -> dict[str, Any]:
    """Return the options by which the run trains a model.

    An evaluator that costs less has those of full training under `full`. Its own come before them where it trains candidates by itself,
    so that some are genes; where none is, they are about something else, such as weights that candidates share.
    """
    own = dict(recipe.evaluator_options)
    config = kernel.load("evaluator", evaluator_of(kernel, recipe)).Config
    return {**own.get("full", {}), **(own if genes_of(config, TRAINING) or "full" not in config.model_fields else {})}
