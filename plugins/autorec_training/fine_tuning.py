"""Fine-tuning: full training that starts from the weights of a trial of an earlier run, on other data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.models import Entities, FitReport, FitSettings, Network, build_network, fit, seed_of, solve_blocks
from autorec_kernel.models.train import INIT, SOLVE, TRAIN
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.genes import Candidate, decode
from autorec_kernel.space import Genotype
from autorec_training.carry import Carried, carry, followed, grown
from autorec_training.full import FullTraining
from autorec_training.source import read_source
from autorec_training.watch import Watch

__all__ = ["FineTuning"]


class FineTuning(FullTraining):
    """Trains as full training does, from the weights of an earlier run on; closed forms are solved on the new data.

    The refit starts from the same weights again. What was carried over, and the validation metrics before the first step, are among the
    details of the result (`carried`, `before`). Without a run it is full training.
    """

    class Config(FullTraining.Config):
        """Options of `FineTuning`."""

        run: str = Field("", description="Folder of the run that the weights are from; empty = start afresh.")
        trial: int = Field(0, ge=0, le=1_000_000_000, description="Which of its trials.")
        start: Literal["run", "fresh"] = Field("run", description="Where a candidate starts: at the run's weights or at fresh ones.")
        unrelated: tuple[str, ...] = Field((), description="Vocabularies whose ids mean something else in the new data, such as user.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._genotype = Genotype()  # of the candidate at hand
        self._told: dict[str, Any] = {}  # what was carried over into it

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Fine-tune for `rung.share` of the epochs and measure on the validation rows."""
        self._genotype, self._told = genotype, {}
        found = super().evaluate(genotype, rung, context)
        return replace(found, details={**found.details, **self._told})

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Fine-tune as many epochs as the trial's best one took, on all rows."""
        self._genotype = genotype
        return super().refit(genotype, details, context)

    def _train(
        self, candidate: Candidate, settings: FitSettings, context: EvaluationContext, watch: Watch | None
    ) -> tuple[Network, FitReport]:
        options = self.Config(**{**self.config.model_dump(), **candidate.training})
        if not options.run or options.start == "fresh" or not settings.epochs:  # without epochs it is restored
            return super()._train(candidate, settings, context, watch)
        network = self._fresh(candidate, context)
        if not network.trainable:
            return network.eval(), FitReport()
        told = self._carry(network, candidate, options, context)
        self._told = {"carried": told.to_json()}
        if watch is not None:
            self._told["before"] = {name: round(value, 9) for name, value in self._judge(network.eval(), context)[0].items()}
        report = fit(
            network,
            context.features,
            settings,
            seed=seed_of(context.seed, context.trial, TRAIN),
            validate=watch,
            progress=watch.epoch if watch is not None else None,
            device=context.device,
            deadline=context.deadline,
        )
        return network, report

    def _fresh(self, candidate: Candidate, context: EvaluationContext) -> Network:
        """Return the network that full training would start from."""
        solving = np.random.SeedSequence(context.seed, spawn_key=(SOLVE,))
        arrays = solve_blocks(candidate.architecture, context.features, context.kernel, seed=solving, cache=context.folder)
        seed = int(seed_of(context.seed, context.trial, INIT).generate_state(1)[0])
        return build_network(candidate.architecture, candidate.features, context.kernel, arrays, seed).attach(Entities(context.features))

    def _carry(self, network: Network, candidate: Candidate, options: Config, context: EvaluationContext) -> Carried:
        source = read_source(Path(options.run), options.trial, context.kernel)
        names = {feature.vocabulary for feature in candidate.features.features if feature.vocabulary} | {"user", "item"}

        def rebuilt(vocabularies: Collection[str]) -> Network:
            larger = decode(self._genotype, grown(context.features.schema, vocabularies), context.kernel)
            return build_network(larger.architecture, larger.features, context.kernel)

        return carry(source.network, source.features, network, context.features, followed(network, names, rebuilt), options.unrelated)
