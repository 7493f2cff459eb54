"""`Cheap`: what evaluators share that cost less than full training: when they judge themselves, and when candidates are trained in full."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.files import atomic_write
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.agreement import Agreement, read_agreement
from autorec_supernet.calibration import calibrated, merit
from autorec_supernet.delegate import Trainer, is_baseline, learned, trainer, write_json
from autorec_supernet.options import CheapOptions

__all__ = ["AGREEMENT", "Cheap"]

AGREEMENT, NOTES = "agreement", "notes"


class Cheap(ABC):
    """Prepares once, measures its rank correlation with full training, and stands back for full training where it is useless.

    Baselines, closed forms and whatever was not prepared are trained in full always.
    """

    name: ClassVar[str] = ""
    Config: ClassVar[type[CheapOptions]]

    def __init__(self, config: CheapOptions) -> None:
        self.config: Any = config

    def subspace(self, space: SearchSpace) -> SearchSpace:
        """Return the whole space."""
        return space

    def prepare(self, context: EvaluationContext) -> Mapping[str, str]:
        """Make what all trials share, then judge random candidates both ways; nothing without a space."""
        if context.space is None:
            return {}
        made = self.make(context.space, context)
        if not made:
            return {}
        found = self._agreement(context.space, replace(context, artefacts=made))
        told = f"{self.name.replace('/', '-')}-notes.txt"
        atomic_write(context.folder / told, (found.sentence(self.name) + "\n").encode())
        return {**made, AGREEMENT: write_json(context, "agreement", found.to_json()), NOTES: told}

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Judge a candidate cheaply, or train it in full where that is not to be trusted."""
        reason = self._why_full(genotype, rung, context)
        found = self.full(context).evaluate(genotype, rung, context) if reason else self.judge(genotype, rung, context)
        facts: dict[str, Any] = {"by": "training/full" if reason else self.name, **({"because": reason} if reason else {})}
        if AGREEMENT in context.artefacts:
            facts[AGREEMENT] = self.agreement(context).facts()
        return replace(found, details={**found.details, "judged": facts})

    def restore(self, genotype: Genotype, artefacts: Mapping[str, str], context: EvaluationContext) -> TrainedModel | None:
        """Return what full training does."""
        return self.full(context).restore(genotype, artefacts, context)

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Return what full training does."""
        return self.full(context).refit(genotype, details, context)

    # --- what each of them says for itself --------------------------------------------------------------------------------------

    @abstractmethod
    def make(self, space: SearchSpace, context: EvaluationContext) -> dict[str, str]:
        """Return the artefacts that judging needs; none where it cannot judge anything."""

    @abstractmethod
    def judge(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Judge a candidate that learns by gradient."""

    def figure(self, genotype: Genotype, context: EvaluationContext) -> float | None:
        """Return the figure of a candidate whose order is compared with full training's, larger is better."""
        return merit(self.judge(genotype, Rung(0, 1.0), context).metrics, context.metric)

    def stands_back(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> str:
        """Return why it leaves a candidate to full training; empty = it does not."""
        return ""

    # --- shared -----------------------------------------------------------------------------------------------------------------

    def full(self, context: EvaluationContext) -> Trainer:
        """Return full training as the options say."""
        return trainer(context.kernel, self.config.full)

    def agreement(self, context: EvaluationContext) -> Agreement:
        """Return what `prepare` measured."""
        return read_agreement((context.folder / context.artefacts[AGREEMENT]).resolve())

    def _agreement(self, space: SearchSpace, context: EvaluationContext) -> Agreement:
        told = {"candidates": self.config.candidates, "level": self.config.level, "useful": self.config.useful}
        return calibrated(space, context, self.figure, self.config.full, **told)

    def _why_full(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> str:
        if AGREEMENT not in context.artefacts:
            return "nothing was prepared"
        if not self.agreement(context).used:
            return "agreement too low"
        if learned(genotype, context.features.schema, context.kernel) is None:
            return "nothing of it learns by gradient"
        if is_baseline(genotype, context.kernel):
            return "a baseline is trained in full"
        return self.stands_back(genotype, rung, context)
