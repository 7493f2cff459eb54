"""Contracts of the deployment stage: compressors return a new, smaller model; a planner decides which of them, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.model import CompressedModel, CompressionStep

if TYPE_CHECKING:
    from autorec_kernel.deploy.quality import Quality
    from autorec_kernel.features import EvaluationSet, FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.model import TrainedModel
    from autorec_kernel.records.trial import Trial

__all__ = [
    "Candidate",
    "Checked",
    "CompressionContext",
    "Compressor",
    "Evidence",
    "NotApplicable",
    "Plan",
    "PlanRequest",
    "Planner",
    "Target",
    "Trainer",
]


class NotApplicable(AutoRecError):
    """Raised when the compressor would change nothing on this model; the plan records the reason as a skipped step."""


@dataclass(frozen=True, slots=True)
class Target:
    """The place the model will run: hard limits (0 = none) and the largest acceptable relative loss of the metric.

    Args:
        max_bytes: Of the graph, item vectors in it.
        max_latency_ms: Median of one call of `batch` rows.
        max_drop: Largest loss, a share of the metric of the uncompressed model.
        max_doubt: Largest loss that the 95 % interval of the paired comparison may leave open.
        threads: Of one call.
        prefer: What decides between plans that keep to the limits: fewest bytes times latency, or the best metric.
        batch: Rows of a call that is timed, beside a call of one.
        max_memory: Bytes of a process that answers.
    """

    name: str
    max_bytes: int = 0
    max_latency_ms: float = 0.0
    max_drop: float = 0.01
    threads: int = 1
    prefer: Literal["bytes", "quality"] = "bytes"
    batch: int = 1
    max_doubt: float = 0.05
    max_memory: int = 0


@dataclass(frozen=True, slots=True)
class Trainer:
    """How a compressor trains another model in place of the one it is given.

    Args:
        train: Trains the candidate of a genotype on the training rows of a feature set for so many epochs; raises `NotApplicable` where
            the time that is left is too short for it. The last argument gives a new network its weights (None = none); evaluators
            without an attribute `begin` take no notice of it.
        teachers: Returns trained models and their weights (1 in sum): the ensemble of the search, or the model itself.
        options: Those of the evaluator that the recipe states.
    """

    kernel: Kernel
    train: Callable[[Mapping[str, Any], FeatureSet, int, Callable[[Any], object] | None], TrainedModel]
    teachers: Callable[[], Sequence[tuple[TrainedModel, float]]]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompressionContext:
    """What a compressor may use: training and validation rows, never the test view.

    Args:
        fine_tune: Trains a model a little further on the training rows for the given share of an epoch budget and returns it.
        sample: Serving inputs (name -> array) of a few rows, for tracing and calibration.
        trainer: What distillation trains students with; None where a compressor is used without a run.
    """

    target: Target
    features: FeatureSet
    sample: Mapping[str, np.ndarray]
    fine_tune: Callable[[TrainedModel, float], TrainedModel]
    rng: np.random.Generator
    facts: Mapping[str, float] = field(default_factory=dict)
    trainer: Trainer | None = None


@runtime_checkable
class Compressor(Protocol):
    """A way to make a model smaller or faster.

    Laws: the input model stays bit-identical; what is promised happened (fewer parameters, fewer bytes, the quantised operator is in the
    graph), else `NotApplicable` is raised: a compressor that returns its input is a failure. A compressor of graphs may say `exact = True`
    in its class: answers stay within 1e-5, and it may pay bytes for less work. The class may state `place`, the order of steps of one form:
    1 another model, 2 fewer rows, columns and entries, 3 (unless stated) other numbers in tables, 4 in products, 5 fewer bits of what is
    left, 6 half floats, 7 storage, 8 the inputs; an exact step that states none comes first.
    """

    Config: ClassVar[type[ComponentConfig]]
    form: ClassVar[Literal["module", "graph"]]  # works on the torch module before export, or on the ONNX bytes after it

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the settings worth trying on this model for this target."""
        ...

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the compressed model (steps are added by the caller).

        Raises:
            NotApplicable: Nothing would change.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model with its exported graph and what is known about it.

    Args:
        bytes: Graph and item vectors.
        quality: On the validation rows; None until it is measured.
        facts: What its making decided and must be decided alike on the refitted model: `tuned_epochs` of a fine-tuning.
    """

    model: CompressedModel
    bytes: int
    quality: Quality | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    def told(self) -> dict[str, float]:
        """Return metric, bytes and facts, as steps tell them."""
        metric = {self.quality.metric: self.quality.value} if self.quality is not None else {}
        return {**metric, "bytes": float(self.bytes), **self.facts}


@dataclass(frozen=True, slots=True, eq=False)
class PlanRequest:
    """What a planner plans with: training and validation rows, never the test view.

    Args:
        start: The uncompressed model, exported and measured.
        apply: Applies (component, config) to a candidate: export and parity included, quality not yet measured. Raises what the
            compressor raises, `NotApplicable` where nothing would change.
        measure: Returns the quality of a candidate on the validation rows.
        deadline: Monotonic seconds after which nothing more is begun; every training ends then too.
    """

    start: Candidate
    target: Target
    kernel: Kernel
    context: CompressionContext
    apply: Callable[[Candidate, str, Mapping[str, Any]], Candidate]
    measure: Callable[[Candidate], Quality]
    seed: int = 0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner decided.

    Args:
        steps: Every step it thought of, with the reason; those that are taken in the order in which they are applied.
        missed: Limit → {"limit", "reached"} of those that the taken steps break: no plan was found that keeps them, this is the closest.
        facts: Anything more, as plain JSON. What is measured by a clock stands under keys that begin with `measured`, here as in `missed`.
    """

    steps: tuple[CompressionStep, ...] = ()
    missed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """A refitted model against its target.

    Args:
        latency: `before` and `after` → name → milliseconds of one call, measured.
        missed: As `Plan` has them.
    """

    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a certificate rests on: the test rows have been opened, and nothing is chosen any more.

    Args:
        before, after: The refitted model, as it was trained and as it is served.
        features: With the test part.
        asked: The users that lists were judged for; None where rows were.
        qualities: `before` and `after` → quality on the test rows.
        bundle: Where the bundle stands for now, whole but for the certificate.
        trials: What the search evaluated; `trial` is the served one's number.
    """

    target: Target
    task: str
    before: Candidate
    after: Candidate
    sample: Mapping[str, np.ndarray]
    features: FeatureSet
    asked: EvaluationSet | None
    qualities: Mapping[str, Quality]
    checked: Checked
    bundle: Path
    seed: int = 0
    trials: Sequence[Trial] = ()
    trial: int = -1


@runtime_checkable
class Planner(Protocol):
    """Chooses the compressors of a model, their settings and their order, and certifies what became of it.

    Laws: the model stays as it is; every step has a reason; the taken ones can be applied in their order; a compressor that fails costs its
    own steps only; limits are kept, or told as missed; after the deadline nothing is taken. Choices rest on bytes and validation figures,
    and on a clock only where a difference is clear. What a clock measured stands under keys that begin with `measured`.
    """

    Config: ClassVar[type[ComponentConfig]]

    def plan(self, request: PlanRequest) -> Plan:
        """Return the plan."""
        ...

    def check(self, before: Candidate, after: Candidate, target: Target, sample: Mapping[str, np.ndarray]) -> Checked:
        """Return how fast the refitted model is, and which limits what is served of it breaks."""
        ...

    def certify(self, evidence: Evidence) -> Mapping[str, Any]:
        """Return the certificate as plain JSON; it has a `verdict`: accepted, refused or not enough data."""
        ...
