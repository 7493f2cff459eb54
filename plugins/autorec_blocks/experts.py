"""Experts and the gates that mix them: what tasks share, and how much of it each of them takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

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
from autorec_kernel.space import Choice, Float, Int, Ints

__all__ = ["Experts", "Gate", "GateActivation"]

GateActivation = Literal["softmax", "sigmoid", "softplus", "tanh", "relu"]


class Experts(Block):
    """Several networks of one shape side by side, each with parameters of its own (Jacobs et al. 1991); a layer is one batched product."""

    class Config(ComponentConfig):
        """Options."""

        count: Annotated[int, Int(1, 8)] = Field(4, ge=1, description="Number of experts.")
        hidden_dims: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 256, log=True), length=Int(1, 3))] = Field(
            (64,), min_length=1, description="Width of each layer of an expert."
        )
        activation: Annotated[Activation, Choice("relu", "gelu", "silu", "tanh", "prelu")] = Field(
            "relu", description="Function after each layer."
        )
        dropout: Annotated[float, Float(0.0, 0.6)] = Field(0.0, ge=0.0, lt=1.0, description="Share of units dropped while training.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field an expert.

        Raises:
            ContractError: The input is a row index.
        """
        if specs[0].index:
            raise ContractError("experts read numbers, not row indices")
        return TensorSpec("fields", specs[0].axis, fields=self.config.count, width=self.config.hidden_dims[-1])

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, count, hidden_dims[-1]]."""
        return _Experts((specs[0].width, *self.config.hidden_dims), self.config)


class _Experts(nn.Module):
    def __init__(self, widths: Sequence[int], config: Experts.Config) -> None:
        super().__init__()
        self.count, self.widths = config.count, tuple(widths)
        self.first = nn.Linear(widths[0], config.count * widths[1])
        inner = list(pairwise(widths[1:]))
        self.weights = nn.ParameterList(_uniform(config.count, wide, out, wide) for wide, out in inner)
        self.offsets = nn.ParameterList(_uniform(config.count, 1, out, wide) for wide, out in inner)
        self.functions = nn.ModuleList(activation(config.activation, config.count * width) for width in widths[1:])
        self.drop = Dropout(config.dropout)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, n, H]; inside, layers are [n, A, H]."""
        values = self._acted(0, self.first(vector))
        for layer, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True), start=1):
            product = torch.baddbmm(offset, values.transpose(0, 1), weight)
            values = self._acted(layer, product.transpose(0, 1).flatten(1))
        return values

    def _acted(self, layer: int, flat: torch.Tensor) -> torch.Tensor:
        acted: torch.Tensor = self.drop(self.functions[layer](flat))
        return acted.view(-1, self.count, self.widths[layer + 1])


def _uniform(count: int, rows: int, columns: int, inputs: int) -> nn.Parameter:
    """Return float32 [count, rows, columns], each expert drawn as torch draws an affine layer of `inputs` inputs."""
    bound = 1.0 / math.sqrt(inputs)
    return nn.Parameter(torch.empty(count, rows, columns).uniform_(-bound, bound))


class Gate(Block):
    """A mixture of experts whose weights a vector decides: Σ_e g(x)_e · expert_e with g = softmax(W x) (Ma et al. 2018, equations 6 and 7).

    The first input decides; the others are sets of experts (FIELDS) of one width, mixed together.
    """

    class Config(ComponentConfig):
        """Options."""

        activation: Annotated[GateActivation, Choice("softmax", "sigmoid", "softplus", "tanh", "relu")] = Field(
            "softmax", description="How weights are made of logits; softmax makes them sum to 1."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "fields")
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as an expert.

        Raises:
            ContractError: The experts differ in width, or an input holds row indices.
        """
        widths = {spec.width for spec in specs[1:]}
        if len(widths) != 1 or any(spec.index for spec in specs):
            raise ContractError(f"a gate mixes experts of one width, got {sorted(widths)}" if len(widths) != 1 else "a gate reads numbers")
        return TensorSpec("vector", specs[0].axis, width=specs[1].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] and experts [A, n_i, H] to [A, H]."""
        return _Gate(specs[0].width, sum(spec.fields for spec in specs[1:]), self.config.activation)


class _Gate(nn.Module):
    def __init__(self, width: int, experts: int, function: GateActivation) -> None:
        super().__init__()
        self.logits = nn.Linear(width, experts, bias=False)
        self.function = function

    def weights(self, vector: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, n], what each expert counts."""
        logits = self.logits(vector)
        return logits.softmax(1) if self.function == "softmax" else getattr(functional, self.function)(logits)  # type: ignore[no-any-return]

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        vector, *experts = inputs
        together = experts[0] if len(experts) == 1 else torch.cat(experts, 1)
        return (self.weights(vector).unsqueeze(1) @ together).squeeze(1)
