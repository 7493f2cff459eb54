"""`Scored`: candidates that are scored without being trained; the one that wins is trained in full when it is taken up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autorec_kernel.contracts.evaluator import PROVISIONAL, EvaluationContext, Rung
from autorec_kernel.files import atomic_write
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype
from autorec_supernet.base import AGREEMENT, Cheap

__all__ = ["Scored"]

_MARK = "scored"
_WINNER = Rung(9, 1.0)  # a rung of its own, so that no file of the search is written over


class Scored(Cheap):
    """Evaluators whose trials have no weights of their own.

    `restore` trains such a trial in full on the training rows, judged on the validation rows as every full training is, and remembers
    how many epochs it took; `refit` then trains as many on all rows.
    """

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Judge a candidate; what is scored alone is provisional, and its epochs are those that candidates took before."""
        found = super().evaluate(genotype, rung, context)
        if found.details["judged"]["by"] != self.name:
            return found
        return replace(found, details={**found.details, "best_epoch": self.agreement(context).epochs, PROVISIONAL: True})

    def stands_back(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> str:
        """Leave the last rung to full training, where the options say so."""
        return "last rung" if self.config.train_last and rung.share >= 1.0 else ""

    def marked(self, artefacts: Mapping[str, str], context: EvaluationContext) -> dict[str, str]:
        """Return artefacts that say that nothing was trained."""
        mark = context.artefacts.get(AGREEMENT) or next(iter(context.artefacts.values()))
        return {**artefacts, _MARK: mark}

    def restore(self, genotype: Genotype, artefacts: Mapping[str, str], context: EvaluationContext) -> TrainedModel | None:
        """Return the trained network of a trial; one that was only scored is trained now."""
        if _MARK not in artefacts:
            return super().restore(genotype, artefacts, context)
        found = self.full(context).evaluate(genotype, _WINNER, context)
        if found.status != "complete":
            return None
        told = {"details": dict(found.details), "metrics": dict(found.metrics)}
        atomic_write(context.folder / _name(genotype), json.dumps(told, sort_keys=True).encode())
        return super().restore(genotype, found.artefacts, context)

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Train on every row for as many epochs as the full training took; the candidates measured before say how many without one."""
        path = context.folder / _name(genotype)
        if details.get("judged", {}).get("by") == self.name and path.is_file():
            details = json.loads(path.read_bytes())["details"]
        return super().refit(genotype, details, context)


def _name(genotype: Genotype) -> str:
    return f"trained-{genotype.digest}.json"
