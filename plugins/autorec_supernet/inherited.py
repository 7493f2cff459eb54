"""Inherited weights: a candidate starts from embedding tables that were learned before, so that few epochs suffice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.models import Network
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.registry.faults import guarded
from autorec_kernel.search.genes import PIPELINE, ROLES
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.base import Cheap
from autorec_supernet.delegate import Trainer, trainer, write_json, write_tensors
from autorec_supernet.options import CheapOptions, InheritedOptions
from autorec_supernet.parents import note_tables, ranges_of, tables_of_parent
from autorec_supernet.stem import Tables, give, learned_stem, read_tables, refitted_stem, stem_genotype

__all__ = ["Inherited"]

_OWN = ("learning_rate", "weight_decay", "batch_size", "id_dropout", "optimiser", "epochs", "patience")


class Inherited(Cheap):
    """Few epochs from the tables of a stem, which is trained once a run; or of the parent (`from_parent`), where those are kept.

    Starting from weights that were learned elsewhere: Chen, Goodfellow and Shlens 2016; embedding tables hold most of what a recommender
    learns. What was inherited is among the details of a trial. The refit trains the stem again, on all rows, and then the candidate.
    """

    name: ClassVar[str] = "supernet/inherited"
    Config: ClassVar[type[CheapOptions]] = InheritedOptions

    def make(self, space: SearchSpace, context: EvaluationContext) -> dict[str, str]:
        """Train a stem for each role of the space."""
        made: dict[str, str] = {}
        epochs: dict[str, int] = {}
        for role in ROLES:
            if space[PIPELINE].domain.contains(role):
                tables, epochs[role] = self._stem(role, context)
                made |= {f"stem-{role}": write_tensors(context, f"stem-{role}", tables)} if tables else {}
        return {**made, "stems": write_json(context, "stems", epochs)} if made else {}

    def _stem(self, role: str, context: EvaluationContext) -> tuple[dict[str, Any], int]:
        """Return tables and their epochs; none where the blueprint is not there, does not fit or diverges: full training does without."""
        found, _ = guarded(lambda: learned_stem(self._genotype(role), self.config.full, context))
        return ({}, 0) if found is None else found

    def _genotype(self, role: str) -> Genotype:
        blueprint = self.config.stem_ranker if role == "ranker" else self.config.stem_retriever
        return stem_genotype(role, blueprint, self.config.width)

    def stands_back(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> str:
        """Leave candidates of a role without a stem to full training."""
        return "" if f"stem-{genotype[PIPELINE]}" in context.artefacts else "there is no stem for it"

    def judge(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Train the rung's share of the epochs from inherited tables."""
        start, facts = self._inherited(str(genotype[PIPELINE]), context)
        found = self._short(context, start).evaluate(genotype, rung, context)
        artefacts = dict(found.artefacts)
        if self.config.from_parent and "weights" in artefacts:
            total = facts["epochs"] + int(found.details.get("best_epoch", 0))
            artefacts["tables"] = note_tables(start.ranges, artefacts["weights"], total, rung, context)
        return replace(found, artefacts=artefacts, details={**found.details, "inherited": {**facts, "tables": start.given}})

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Train the stem for as many epochs as were in the tables, and from it the candidate, all on every row."""
        facts = details.get("inherited")
        if facts is None:
            return super().refit(genotype, details, context)
        stem = refitted_stem(self._genotype(str(genotype[PIPELINE])), int(facts["epochs"]), self.config.full, context)
        return self._short(context, _Start(stem)).refit(genotype, details, context)

    def _inherited(self, role: str, context: EvaluationContext) -> tuple[_Start, dict[str, Any]]:
        """Return what a network starts from, and what a person is told of it."""
        stem = read_tables((context.folder / context.artefacts[f"stem-{role}"]).resolve())
        found = tables_of_parent(context) if self.config.from_parent and context.parent is not None else None
        if found is not None:
            return _Start({**stem, **found.tables}), {"from": f"trial {context.parent}", "epochs": found.epochs}
        epochs = json.loads((context.folder / context.artefacts["stems"]).read_bytes())
        return _Start(stem), {"from": "stem", "epochs": int(epochs[role])}

    def _short(self, context: EvaluationContext, start: _Start) -> Trainer:
        own = {name: getattr(self.config, name) for name in _OWN}
        found = trainer(context.kernel, {**self.config.full, **own})
        found.begin = start
        return found


class _Start:
    """Gives a new network tables, and remembers which, and where its own lie."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.given: list[str] = []
        self.ranges: dict[str, tuple[int, int]] = {}

    def __call__(self, network: Network) -> None:
        self.given, self.ranges = give(network, self._tables), ranges_of(network)
