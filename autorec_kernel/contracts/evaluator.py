"""Contracts that evaluate candidates: evaluators judge a genotype, executors run tasks, metrics score rankings or rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.model import TrainedModel

__all__ = ["CONVERGED", "PROVISIONAL", "EvaluationContext", "Evaluator", "Executor", "Metric", "Rung", "Task"]

PROVISIONAL = "provisional"  # true among the details of a result that is no training's: whatever a higher rung finds takes its place
CONVERGED = "converged"  # true among the details of a result that a larger share of the training would not change: it is not trained again


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the fidelity ladder: `share` of a full training's epochs, in (0, 1]."""

    index: int
    share: float


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """Everything an evaluator may read. The test view is not reachable from here.

    Args:
        features: The feature set of the training and validation rows.
        trial: Number of the trial; with `seed` the only source of randomness (`SeedSequence(seed, spawn_key=(trial, stage))`).
        device: `cpu` or `cuda`.
        deadline: Monotonic time (s) after which training stops by itself and returns what it has; None = no limit.
        folder: Where artefacts are written.
        parent: Trial that the genotype was derived from, where the strategy says so.
        artefacts: What `prepare` returned: name → file name below `folder`.
        space: What is searched: told to `prepare` alone.
    """

    kernel: Kernel
    features: FeatureSet
    task: str
    metric: str
    seed: int
    trial: int
    folder: Path
    device: str = "cpu"
    threads: int = 1
    deadline: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    parent: int | None = None
    artefacts: Mapping[str, str] = field(default_factory=dict)
    space: SearchSpace | None = None


@runtime_checkable
class Evaluator(Protocol):
    """A way to find out how good a genotype is. A result is a pure function of (genotype, rung, seed, trial, parent, artefacts)."""

    Config: ClassVar[type[ComponentConfig]]

    def subspace(self, space: SearchSpace) -> SearchSpace:
        """Return the part of the space that this evaluator can judge: genotypes of it are genotypes of the whole.

        Asked once a session; strategy and journal see that part alone. A blueprint that it leaves out is told to the person.
        """
        ...

    def prepare(self, context: EvaluationContext) -> Mapping[str, str]:
        """Do once a run what all evaluations share, until `context.deadline`; return name → file name below `context.folder`.

        A function of the feature set, the space, the seed, the options and `context.limits["max_seconds"]` (the seconds it may take),
        as a trial is; `context.trial` is a number that no trial has. The lines of the text file named `notes` are told to the person
        and kept in the result.
        """
        ...

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Judge one genotype on the validation rows."""
        ...

    def restore(self, genotype: Genotype, artefacts: Mapping[str, str], context: EvaluationContext) -> TrainedModel | None:
        """Return the model of a finished trial from its artefacts below `context.folder`; None when they are gone."""
        ...

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Train the final model on every training row of `context.features` (validation rows have joined them).

        Args:
            details: What the trial reported, such as its best epoch: there is nothing left to stop early on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One evaluation to run somewhere: JSON plus file paths, the same in a worker and on a cluster.

    Args:
        run: Run folder (holds the feature set and the recipe).
        deadline_seconds: Wall-clock limit from its start; the executor kills what exceeds it. 0 = none.
        soft_seconds: Time after which training stops by itself and is measured as it is; 0 = none.
        memory_bytes: Resident limit; 0 = none.
        options: Options of the evaluator.
        artefacts: What its `prepare` returned.
    """

    run: str
    trial: int
    rung: int
    share: float
    genotype: Mapping[str, Any]
    evaluator: str
    seed: int
    deadline_seconds: float = 0.0
    soft_seconds: float = 0.0
    memory_bytes: int = 0
    threads: int = 1
    device: str = "cpu"
    task: str = "recommend"
    metric: str = "ndcg@10"
    limits: Mapping[str, float] = field(default_factory=dict)
    parent: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    artefacts: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Executor(Protocol):
    """Somewhere to run tasks. Whatever happens to a task (hang, crash, memory), its future resolves to an `Evaluation`."""

    Config: ClassVar[type[ComponentConfig]]

    def start(self, plugins: Mapping[str, Any], workers: int) -> None:
        """Open the workers; `plugins` tells them which kernel to build (JSON)."""
        ...

    def submit(self, task: Task) -> Future[Evaluation]:
        """Queue a task; returns at once."""
        ...

    def close(self) -> None:
        """End every worker."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A figure of merit.

    `kind` says what `score` reads: ranking = (ranks of the positives CSR, k, catalogue size), rows = (labels, predictions, users).
    """

    Config: ClassVar[type[ComponentConfig]]
    kind: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def score(self, *arrays: np.ndarray) -> np.ndarray:
        """Return float64 per-user or per-row values."""
        ...
