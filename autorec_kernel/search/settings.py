"""`SearchSettings`: everything that shapes a search besides the space and the strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autorec_kernel.contracts.evaluator import Task

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
        maximise: Whether the metric is better when larger; else its negative is the objective.
        parallel: Tasks submitted at a time, one a worker, so that none waits while its share of the time goes by; 0 = all at once.
        keep: Best trials whose weights are kept (`Keeper`); 0 = the weights of all.
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
    evaluator: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1
    memory_bytes: int = 0
    parallel: int = 0
    keep: int = 5
    speed: float = 1.0

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
        )
