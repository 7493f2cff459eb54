"""`TrainedModel` and `CompressedModel`: what training and compression hand on. Modules and graphs are opaque here (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema

__all__ = ["CompressedModel", "CompressionStep", "TrainedModel"]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained network.

    Args:
        architecture: The graph it was built from.
        module: `torch.nn.Module` (a `models.Network`), in eval mode, on the CPU.
        features: The feature schema it reads.
        metrics: Validation metrics.
        provenance: Genotype, seed, epochs, versions.
    """

    architecture: Architecture
    module: Any
    features: FeatureSchema
    metrics: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompressionStep:
    """One step of a compression plan, with what it changed and why it was taken or skipped."""

    component: str
    config: Mapping[str, Any]
    taken: bool
    reason: str
    before: Mapping[str, float] = field(default_factory=dict)  # metric, bytes, latency_ms
    after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompressedModel:
    """A new model and the steps that led to it.

    Args:
        model: The trained model whose module is served (pruned, distilled); bit-identical to the input for graph compressors.
        graph: ONNX bytes of the serving graph once exported, None before.
        steps: Every step, in order.
    """

    model: TrainedModel
    graph: bytes | None = None
    steps: tuple[CompressionStep, ...] = ()
