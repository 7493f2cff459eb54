"""Evaluators with one habit each; no training, no data."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.errors import DataError, InfrastructureError
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype, SearchSpace

__all__ = ["Exiting", "Greedy", "Hanging", "Raising", "Steady"]

_LONG_SECONDS = 60.0


class Steady:
    """The metric is a hash of genotype, seed and trial; every third trial sleeps a little, so that results arrive out of order."""

    class Config(ComponentConfig):
        """Options."""

        host: int = Field(0, description="Process that judges; nothing that would take it down happens there.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def subspace(self, space: SearchSpace) -> SearchSpace:
        """Return the whole space."""
        return space

    def prepare(self, context: EvaluationContext) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Return a number."""
        time.sleep(0.3 if context.trial % 3 == 0 else 0.0)
        value = int(genotype.digest[:6], 16) / 2**24 + context.seed + context.trial * 0.001 + rung.index
        return Evaluation("complete", {context.metric: value}, measured={"pid": float(os.getpid())})

    def demand_isolation(self) -> None:
        """Refuse to run in the judging process."""
        if os.getpid() == self.config.host:
            raise InfrastructureError("the task runs in the process that submitted it: its end would be everybody's")

    def restore(self, genotype: Genotype, artefacts: Mapping[str, str], context: EvaluationContext) -> TrainedModel | None:
        """Return nothing: no model is kept."""
        return None

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Refuse: there is nothing to train."""
        raise DataError("the kit's evaluators train nothing")


class Hanging(Steady):
    """Sleeps for a minute and does not listen."""

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Hang."""
        time.sleep(_LONG_SECONDS)
        return super().evaluate(genotype, rung, context)


class Raising(Steady):
    """Raises."""

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Raise."""
        raise ValueError("raised on purpose")


class Exiting(Steady):
    """Leaves without cleaning up."""

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Die."""
        self.demand_isolation()
        os._exit(3)


class Greedy(Steady):
    """Fills memory with pages it really touches, then hangs."""

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Grow by 64 MiB a step, to 4 GiB at most."""
        self.demand_isolation()
        held = []
        for _ in range(64):
            held.append(np.ones(2**23))
            time.sleep(0.02)
        time.sleep(_LONG_SECONDS)
        return Evaluation("complete", {context.metric: float(len(held))})
