"""Functions of one vector: unit length, so that inner products are cosines; an activation with an offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Activation, Block, activation
from autorec_blocks.dropout import Dropout
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Float

__all__ = ["Activate", "Normalise"]


class Normalise(Block):
    """Divide a vector by its Euclidean length, and then by `temperature`.

    With both sides of an inner product at unit length it is their cosine; the temperature of one side is that of a softmax over cosines
    (Huang et al. 2013, equation 4; Yi et al. 2019, section 3). A vector of zeros stays one.
    """

    class Config(ComponentConfig):
        """Options."""

        temperature: Annotated[float, Float(0.02, 1.0, log=True), Field(gt=0)] = Field(1.0, description="The result is divided by it.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the input.

        Raises:
            ContractError: The input holds row indices.
        """
        if specs[0].index:
            raise ContractError("normalise takes a vector of numbers, got row indices")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, D]."""
        return _Normalise(self.config.temperature)


class _Normalise(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vector, dim=1, eps=1e-6) / self.temperature


class Activate(Block):
    """shift + scale · f(x + b), each number for itself, then dropout: what follows a product that was made elsewhere."""

    class Config(ComponentConfig):
        """Options."""

        activation: Annotated[Activation, Choice("relu", "gelu", "silu", "tanh", "sigmoid", "identity")] = Field(
            "sigmoid", description="The function f."
        )
        bias: bool = Field(True, description="Whether the offset b is learned; it starts at 0.")
        scale: float = Field(1.0, description="Factor of its value.")
        shift: float = Field(0.0, description="Added after that.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.0, description="Share of units dropped while training.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the input.

        Raises:
            ContractError: The input holds row indices.
        """
        if specs[0].index:
            raise ContractError("activate takes a vector of numbers, got row indices")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, D]."""
        return _Activate(self.config, specs[0].width)


class _Activate(nn.Module):
    def __init__(self, config: Activate.Config, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width)) if config.bias else None
        self.activation = activation(config.activation, width)
        self.scale, self.shift, self.dropout = config.scale, config.shift, Dropout(config.dropout)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        value = self.activation(vector if self.bias is None else vector + self.bias)
        dropped: torch.Tensor = self.dropout(self.shift + self.scale * value)
        return dropped
