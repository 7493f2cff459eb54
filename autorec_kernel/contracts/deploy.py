"""Contract of the deployment stage: compressors return a new, smaller model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.model import CompressedModel

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.model import TrainedModel

__all__ = ["CompressionContext", "Compressor", "NotApplicable", "Target", "Trainer"]


class NotApplicable(AutoRecError):
    """Raised when the compressor would change nothing on this model; the plan records the reason as a skipped step."""


@dataclass(frozen=True, slots=True)
class Target:
    """The place the model will run: hard limits (0 = none) and the largest acceptable relative loss of the metric.

    Args:
        prefer: What decides between several settings of one compressor that keep to the limits.
    """

    name: str
    max_bytes: int = 0
    max_latency_ms: float = 0.0
    max_drop: float = 0.01
    threads: int = 1
    prefer: Literal["bytes", "quality"] = "bytes"


@dataclass(frozen=True, slots=True)
class Trainer:
    """How a compressor trains another model in place of the one it is given.

    Args:
        train: Trains the candidate of a genotype on the training rows of a feature set for so many epochs; raises `NotApplicable` where
            the time that is left is too short for it.
        teachers: Returns trained models and their weights (1 in sum): the ensemble of the search, or the model itself.
    """

    kernel: Kernel
    train: Callable[[Mapping[str, Any], FeatureSet, int], TrainedModel]
    teachers: Callable[[], Sequence[tuple[TrainedModel, float]]]


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
    graph), else `NotApplicable` is raised: a compressor that returns its input is a failure.
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
