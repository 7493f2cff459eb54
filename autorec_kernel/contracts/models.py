"""Contracts of the model stage: blocks are the words, blueprints the sentences of one language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema

__all__ = ["Blueprint", "ModelBlock", "SolvingBlock"]


@runtime_checkable
class ModelBlock(Protocol):
    """A word of the block language.

    `accepts` lists the ports of the inputs; with `variadic` the last one repeats. Inputs on another port are adapted.

    The module built takes one argument an input: float32 [A, F, E], [A, D], [A, T], table [R, D]; a sequence is the pair
    (float32 [A, L, E], mask bool [A, L]); an index is int64. It returns the value that `output` describes.

    A block that learns from scores which a closed form made sets `stacked = True` on its class: the closed forms it reads are then solved
    without the events that the graph is trained on, and on all events for serving (`models/stacking.py`).

    Laws: `output` allocates nothing; `build` gives what `output` says for every batch size; the gradient reaches every parameter;
    the module exports to ONNX; padding (mask False) never changes an output.
    """

    Config: ClassVar[type[ComponentConfig]]
    accepts: ClassVar[tuple[Port, ...]]
    variadic: ClassVar[bool]
    arrays: ClassVar[tuple[str, ...]]  # names of training arrays that `solve` reads: "interactions"

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Infer the shape of the output.

        Raises:
            ContractError: The inputs cannot be combined.
        """
        ...

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> Any:
        """Return the `torch.nn.Module`; `arrays` is what `solve` returned, empty for a block trained by gradient."""
        ...


@runtime_checkable
class SolvingBlock(ModelBlock, Protocol):
    """A block with a closed form instead of gradient steps."""

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Return the arrays that `build` stores as buffers; `arrays["interactions"]` is a `records.interactions.Interactions`."""
        ...

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Estimate the solving time on one thread (s), before anything is spent."""
        ...


@runtime_checkable
class Blueprint(Protocol):
    """A named architecture: `Config → Architecture`."""

    Config: ClassVar[type[ComponentConfig]]
    role: ClassVar[Literal["retriever", "ranker"]]
    tasks: ClassVar[tuple[str, ...]]  # of recommend, rate, click

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph for these features.

        Raises:
            ContractError: The blueprint needs a feature that the schema lacks (a history, a user id, …); the trial is `infeasible`.
        """
        ...
