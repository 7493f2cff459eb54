"""Blocks that turn a history into one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block, activation
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int, Ints

__all__ = ["Pool", "TargetAttention"]

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


class TargetAttention(Block):
    """DIN's local activation unit (Zhou et al. 2018, section 4.3): weights from (step, target, difference, product), not normalised."""

    class Config(ComponentConfig):
        """Options."""

        attention_dims: Annotated[tuple[int, ...], Ints(Int(8, 128, log=True), length=Int(1, 2))] = Field(
            (64, 32), description="Hidden widths of the activation unit."
        )
        activation: Literal["relu", "sigmoid", "prelu", "tanh"] = Field("sigmoid", description="Function inside the unit.")
        softmax: bool = Field(False, description="Whether weights are normalised over the history.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as a step.

        Raises:
            ContractError: History and target differ in width.
        """
        if specs[0].width != specs[1].width:
            raise ContractError(f"target attention compares a history of width {specs[0].width} with a target of width {specs[1].width}")
        return TensorSpec("vector", specs[1].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] with its mask and [A, E] to [A, E]."""
        return _TargetAttention(specs[0].width, self.config)


class _TargetAttention(nn.Module):
    def __init__(self, width: int, config: TargetAttention.Config) -> None:
        super().__init__()
        sizes = (4 * width, *config.attention_dims)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), activation(config.activation)]
        self.unit = nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=not config.softmax))
        self.softmax = config.softmax

    def forward(self, value: Steps, target: torch.Tensor) -> torch.Tensor:
        steps, mask = value
        wanted = target.unsqueeze(1).expand_as(steps)
        weights = self.unit(torch.cat([steps, wanted, steps - wanted, steps * wanted], -1)).squeeze(-1)
        if self.softmax:
            weights = torch.softmax(weights.masked_fill(~mask, -1e9), 1)
        return ((weights * mask.to(steps.dtype)).unsqueeze(-1) * steps).sum(1)
