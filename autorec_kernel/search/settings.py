"""`SearchSettings`: everything that shapes a search besides the space and the strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.search.objectives import Objective, Objectives

__all__ = ["SearchSettings"]


_WITH_REFIT = 2.2  # times its own seconds that a trial takes when it wins: trained, then refitted on more rows


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a search is run.

    Args:
        run: Run folder.
        trials: Candidates besides the baselines; None = until the deadline.
        deadline: Monotonic time (s) at which the search ends; None = no limit.
        baseline_seconds: Predicted seconds that baselines may take together; None = all run.
        trial_seconds: Seconds after which one trial stops by itself; 0 = none.
        batch: Proposals asked for at a time; the same for any number of workers.
        shares: Rung ladder: shares of a full training, rising to 1.
        eta: Of each batch and rung, the best 1/eta go on.
        schedule: halving = every batch climbs the whole ladder; hyperband = batch after batch starts a rung higher, and is smaller
            (Li et al. 2018, algorithm 1, with the largest bracket as long as a batch).
        maximise: Whether the metric is better when larger; else its negative is the objective.
        objectives, weights: What trials are compared by; see `Objectives`.
        parallel: Tasks submitted at a time, one a worker, so that none waits while its share of the time goes by; 0 = all at once.
        keep: Best trials whose weights are kept (`Keeper`); 0 = the weights of all.
        sizes: Of the batches to go through, instead of a budget: those of another search.
        speed: Measured speed of this machine relative to the device profile; only used to predict seconds.
    """

    run: str
    task: str
    metric: str
    maximise: bool
    seed: int = 0
    trials: int | None = None
    deadline: float | None = None
    baseline_seconds: float | None = None
    trial_seconds: float = 0.0
    batch: int = 4
    shares: tuple[float, ...] = (0.34, 1.0)
    eta: int = 3
    schedule: Literal["halving", "hyperband"] = "halving"
    objectives: tuple[Objective, ...] = ("metric",)
    weights: Mapping[str, float] = field(default_factory=dict)
    evaluator: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    artefacts: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1
    memory_bytes: int = 0
    parallel: int = 0
    keep: int = 5
    sizes: tuple[int, ...] = ()
    speed: float = 1.0

    @property
    def goal(self) -> Objectives:
        """Return what a trial's values are made of."""
        return Objectives(self.metric, self.maximise, self.objectives, self.weights, self.limits)

    def bracket(self, index: int) -> tuple[tuple[float, ...], int]:
        """Return the ladder and the size of the strategy's batch number `index`, from 0.

        A bracket of k of the K rungs starts with ceil(K / k eta^(k - 1)) candidates for each ceil(eta^(K - 1)) of the whole ladder's.
        """
        whole = len(self.shares)
        left = whole - (index % whole if self.schedule == "hyperband" else 0)
        return self.shares[whole - left :], math.ceil(self.batch * whole / left * self.eta ** (left - whole))

    def task_for(self, trial: int, rung: int, share: float, genotype: Mapping[str, Any], parent: int | None, left: float | None) -> Task:
        """Return the task of one trial at one rung; `left` = seconds until the search ends, of which the trial's refit takes its part."""
        soft = min(self.trial_seconds or float("inf"), left / _WITH_REFIT if left is not None else float("inf"))
        soft = 0.0 if soft == float("inf") else max(1.0, soft)
        return Task(
            run=self.run,
            trial=trial,
            rung=rung,
            share=share,
            genotype=dict(genotype),
            evaluator=self.evaluator,
            seed=self.seed,
            soft_seconds=soft,
            deadline_seconds=2 * soft + 20 if soft else 0.0,
            memory_bytes=self.memory_bytes,
            threads=self.threads,
            device=self.device,
            task=self.task,
            metric=self.metric,
            limits={**self.limits, **({"max_seconds": soft} if soft else {})},
            parent=parent,
            options=dict(self.options),
            artefacts=dict(self.artefacts),
        )
