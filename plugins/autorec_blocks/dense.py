"""Dense blocks: affine layers, multi-layer perceptrons and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Activation, Block, activation
from autorec_blocks.dropout import Dropout
from autorec_blocks.rectified import Tower
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Link, Port, TensorSpec
from autorec_kernel.space import Choice, Float, Int, Ints

__all__ = ["Head", "Linear", "Mlp", "SumScores"]

_Share = Annotated[float, Field(ge=0, lt=1)]
_RECTIFIERS = ("relu", "gelu", "silu", "prelu", "dice")


class Linear(Block):
    """One affine layer."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(1, 1024, log=True), Field(ge=1)] = Field(64, description="Output dimension.")
        bias: bool = Field(True, description="Whether an offset is learned.")
        zero_start: bool = Field(False, description="Whether training starts from zero weights, as suits a linear model.")
        initial_scale: float = Field(0.0, ge=0, description="Standard deviation of the first weights, offset 0; 0 = by the input's width.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector of `width`."""
        return TensorSpec("vector", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the layer: float32 [A, D] to [A, width]."""
        layer = nn.Linear(specs[0].width, self.config.width, bias=self.config.bias)
        if self.config.initial_scale and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if self.config.zero_start or self.config.initial_scale:
            nn.init.normal_(layer.weight, 0.0, 0.0 if self.config.zero_start else self.config.initial_scale)
        return layer


class Mlp(Block):
    """Affine layers, each followed by an activation and dropout; without layers, the input as it is."""

    class Config(ComponentConfig):
        """Options."""

        hidden_dims: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 512, log=True), length=Int(1, 4))] = Field(
            (128, 64), description="Width of each layer."
        )
        activation: Annotated[Activation, Choice("relu", "gelu", "silu", "tanh", "prelu", "dice")] = Field(
            "relu", description="Function after each layer."
        )
        dropout: Annotated[_Share | tuple[_Share, ...], Float(0.0, 0.6)] = Field(
            0.0, description="Share of units dropped while training: one for all layers, or a list whose last entry repeats."
        )
        initial: Literal["scaled", "uniform"] = Field(
            "scaled",
            description="First weights: scaled by the layer's width and its activation, offsets 0; uniform = torch's own, narrower.",
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the last layer."""
        return TensorSpec("vector", specs[0].axis, width=(specs[0].width, *self.config.hidden_dims)[-1])

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the stack: float32 [A, D] to [A, hidden_dims[-1]]."""
        layers: list[nn.Module] = []
        width = specs[0].width
        for size, rate in zip(self.config.hidden_dims, _rates(self.config.dropout, len(self.config.hidden_dims)), strict=True):
            layer = nn.Linear(width, size)
            if self.config.initial == "scaled":
                _scale(layer, self.config.activation)
            layers += [layer, activation(self.config.activation, size)]
            if rate:
                layers.append(Dropout(rate))
            width = size
        return Tower(*layers)


def _scale(layer: nn.Linear, function: str = "identity") -> nn.Linear:
    """Draw weights of variance 2 / (in + out) (Glorot and Bengio 2010, equation 12): normal before rectifiers, else uniform; return it.

    Larger ones before rectifiers (He et al. 2015) learn faster in the first epochs, and click models then overfit from a lower peak:
    on validation rows of two data sets, best of up to twenty epochs, seven of nine comparisons were for these.
    """
    if function in _RECTIFIERS:
        nn.init.xavier_normal_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _rates(dropout: float | tuple[float, ...], layers: int) -> list[float]:
    """Return one dropout rate a layer: the last one given repeats, none given means none."""
    given = dropout if isinstance(dropout, tuple) else (dropout,)
    return [given[min(layer, len(given) - 1)] if given else 0.0 for layer in range(layers)]


class Head(Block):
    """Sums its inputs after one affine layer each: one score a task."""

    class Config(ComponentConfig):
        """Options."""

        tasks: tuple[str, ...] = Field(("label",), description="Names of the predicted labels.")
        link: Literal["logit", "probability", "value"] = Field("logit", description="Scale of the scores.")
        offset: float = Field(0.0, description="Where the offset starts, e.g. the mean label.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return scores [A, T]."""
        tasks = self.config.tasks
        link: Link = self.config.link
        return TensorSpec("scores", specs[0].axis, width=len(tasks), tasks=tasks, link=link)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the head: vectors [A, D_i] to [A, T]."""
        return _HeadModule([spec.width for spec in specs], len(self.config.tasks), self.config.offset)


class _HeadModule(nn.Module):
    def __init__(self, widths: Sequence[int], tasks: int, offset: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_scale(nn.Linear(width, tasks, bias=False)) for width in widths)
        self.offset = nn.Parameter(torch.full((tasks,), offset))

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.layers[0](vectors[0]) + self.offset
        for layer, vector in zip(list(self.layers)[1:], vectors[1:], strict=True):
            total = total + layer(vector)
        return total


class SumScores(Block):
    """One score a row: the plain sum of vectors of width one, plus an offset."""

    class Config(ComponentConfig):
        """Options."""

        task: str = Field("label", description="Name of the predicted label.")
        link: Literal["logit", "probability", "value"] = Field("logit", description="Scale of the score.")
        offset: float = Field(0.0, description="Where the offset starts, e.g. the mean label.")
        learned: bool = Field(True, description="Whether the offset is trained.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return scores [A, 1].

        Raises:
            ContractError: An input is wider than one number.
        """
        if any(spec.width != 1 for spec in specs):
            raise ContractError(f"sum-scores adds numbers, got vectors of widths {[spec.width for spec in specs]}")
        return TensorSpec("scores", specs[0].axis, width=1, tasks=(self.config.task,), link=self.config.link)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vectors [A, 1] to [A, 1]."""
        return _SumScores(self.config.offset, self.config.learned)


class _SumScores(nn.Module):
    def __init__(self, offset: float, learned: bool) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor([offset]), requires_grad=learned)

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        total = vectors[0]
        for vector in vectors[1:]:
            total = total + vector
        return total + self.offset
