"""Blocks that weigh the steps of a history and turn it into one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Activation, Block, activation
from autorec_blocks.dice import Dice
from autorec_blocks.rated import rated, unit_layers
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand, linear
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int, Ints

__all__ = ["AttentionWeights", "Pool"]

Steps = tuple[torch.Tensor, torch.Tensor]


class Pool(Block):
    """Mean, sum, maximum or last real step; zeros for an empty history."""

    class Config(ComponentConfig):
        """Options."""

        mode: Annotated[Literal["mean", "sum", "max", "last"], Choice("mean", "sum", "max", "last")] = Field(
            "mean", description="How the steps are reduced."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as a step."""
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] with its mask to [A, E]."""
        return _Pool(self.config.mode)


class _Pool(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, value: Steps) -> torch.Tensor:
        steps, mask = value
        real = mask.unsqueeze(-1).to(steps.dtype)
        if self.mode in ("mean", "sum"):
            total = (steps * real).sum(1)
            return total / real.sum(1).clamp(min=1.0) if self.mode == "mean" else total
        if self.mode == "last":
            last = (mask.to(torch.int64).sum(1) - 1).clamp(min=0)
            index = last[:, None, None].expand(-1, 1, steps.shape[2])
            return (steps * real).gather(1, index)[:, 0]
        highest = steps.masked_fill(real == 0, float("-inf")).amax(1)
        return torch.where(mask.any(1, keepdim=True), highest, torch.zeros_like(highest))


class AttentionWeights(Block):
    """One weight a step from its fit to a target; padded steps weigh exactly 0.

    `unit`: DIN's local activation unit, a perceptron over (step, target, difference, product), not normalised unless asked (Zhou et al.
    2018, section 4.3). `bilinear`: hᵀ W e, normalised over the history (DIEN, Zhou et al. 2019, equation 7).
    """

    class Config(ComponentConfig):
        """Options."""

        form: Literal["unit", "bilinear"] = Field("unit", description="How step and target are compared.")
        attention_dims: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 128, log=True), length=Int(1, 2))] = Field(
            (64, 32), description="Hidden widths of the activation unit; empty = an affine one."
        )
        activation: Activation = Field("sigmoid", description="Function inside the unit.")
        softmax: bool = Field(False, description="Whether weights are normalised over the history.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence of width 1.

        Raises:
            ContractError: The unit is to compare a history with a target of another width.
        """
        if specs[0].index or specs[1].index:
            raise ContractError("attention weights compare embedded steps with an embedded target, not row indices")
        if self.config.form == "unit" and specs[0].width != specs[1].width:
            raise ContractError(f"attention compares a history of width {specs[0].width} with a target of width {specs[1].width}")
        return TensorSpec("sequence", specs[1].axis, width=1)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] with its mask and [A, D] to [A, L, 1] with the mask."""
        if self.config.form == "bilinear":
            return _Bilinear(specs[0].width, specs[1].width, self.config.softmax)
        return _Unit(specs[0].width, self.config)


def _weights(scores: torch.Tensor, mask: torch.Tensor, softmax: bool) -> Steps:
    """Return scores [A, L] as weights [A, L, 1]: normalised over real steps or not, 0 on padding."""
    if softmax:
        scores = torch.softmax(scores.masked_fill(~mask, -1e9), 1)
    return scores.masked_fill(~mask, 0.0).unsqueeze(-1), mask


class _Bilinear(nn.Module):
    def __init__(self, width: int, target: int, softmax: bool) -> None:
        super().__init__()
        self.weight, self.softmax = nn.Linear(target, width, bias=False), softmax

    def forward(self, value: Steps, target: torch.Tensor) -> Steps:
        steps, mask = value
        return _weights(torch.matmul(steps, self.weight(target).unsqueeze(-1)).squeeze(-1), mask, self.softmax)


class _Unit(nn.Module):
    """The first layer is applied in parts, so that the target is multiplied once a row instead of once a step."""

    def __init__(self, width: int, config: AttentionWeights.Config) -> None:
        super().__init__()
        self.softmax = config.softmax
        sizes = (4 * width, *config.attention_dims)
        layers = [(nn.Linear(before, after), activation(config.activation, after)) for before, after in pairwise(sizes)]
        last = nn.Linear(sizes[-1], 1, bias=not config.softmax)  # an offset cancels in a softmax
        self.unit = nn.Sequential(*(part for layer in layers for part in layer), last)

    def forward(self, value: Steps, target: torch.Tensor) -> Steps:
        steps, mask = value
        if by_hand(steps, target) and bool(mask.any()):
            return _weights(_of_real(self.unit, steps, mask, target), mask, self.softmax)
        first, *others = self.unit
        assert isinstance(first, nn.Linear)
        own, wanted, apart, product = first.weight.chunk(4, 1)
        pairs = torch.cat([steps, steps * target.unsqueeze(1)], -1)
        hidden = linear(pairs, torch.cat([own + apart, product], 1))
        hidden = hidden + linear(target, wanted - apart, first.bias).unsqueeze(1)
        for layer in others:
            hidden = layer(hidden, mask) if isinstance(layer, Dice) else layer(hidden)
        return _weights(hidden.squeeze(-1), mask, self.softmax)


def _of_real(unit: nn.Sequential, steps: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, L], the scores of a unit; those of real steps alone are computed, the others are 0."""
    places = mask.flatten().nonzero().squeeze(1)
    own, wanted = steps.flatten(0, 1).index_select(0, places), target.index_select(0, places // mask.shape[1])
    first, *others = unit
    assert isinstance(first, nn.Linear)
    of_step, of_target, apart, of_product = first.weight.chunk(4, 1)
    weight = torch.cat([of_step + apart, of_target - apart, of_product], 1)
    rows = torch.cat([own, wanted, own * wanted], 1)
    if layers := unit_layers(unit):
        weights, offsets = [weight, *(layer.weight for layer in layers[1:-1])], [layer.bias for layer in layers[:-1]]
        scores = rated(rows, weights, offsets, layers[-1].weight[0])
        scores = scores if layers[-1].bias is None else scores + layers[-1].bias
    else:
        hidden = functional.linear(rows, weight, first.bias)  # torch's BLAS: the number of real steps is another one in each batch
        for layer in others:
            hidden = functional.linear(hidden, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else layer(hidden)
        scores = hidden.squeeze(1)
    return scores.new_zeros(mask.numel()).index_copy(0, places, scores).view(mask.shape)
