"""Small words for histories: scale the steps, project them, append one, and look one step ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Activation, Block, activation
from autorec_blocks.dice import Dice
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Int

__all__ = ["AppendStep", "NextSteps", "ProjectSteps", "ScaleSteps"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E] (or int64 [A, L]), mask bool [A, L]


class ScaleSteps(Block):
    """Each step times its weight: one number a step, or one a channel (AIGRU's scaled inputs, DIN's weighted history)."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the first input.

        Raises:
            ContractError: The weights are neither one number a step nor as wide as the steps.
        """
        if specs[0].index or specs[1].index or specs[1].width not in (1, specs[0].width):
            raise ContractError(f"steps of width {specs[0].width} are scaled by weights as wide or of width 1, got {specs[1].width}")
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] and [A, L, 1 or E] to [A, L, E]."""
        return _Scale()


class _Scale(nn.Module):
    def forward(self, value: Steps, weights: Steps) -> Steps:
        steps, mask = value
        return (steps * weights[0]).masked_fill(~mask.unsqueeze(-1), 0.0), mask


class ProjectSteps(Block):
    """One affine layer with an activation, the same for every step."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(1, 512, log=True), Field(ge=1)] = Field(64, description="Output dimension of a step.")
        activation: Activation = Field("identity", description="Function after the layer.")
        bias: bool = Field(True, description="Whether an offset is learned.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence of `width`."""
        return TensorSpec("sequence", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, width]."""
        return _Project(specs[0].width, self.config)


class _Project(nn.Module):
    def __init__(self, width: int, config: ProjectSteps.Config) -> None:
        super().__init__()
        self.layer = nn.Linear(width, config.width, bias=config.bias)
        self.activation = activation(config.activation, config.width)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        moved = self.layer(steps)
        moved = self.activation(moved, mask) if isinstance(self.activation, Dice) else self.activation(moved)
        return moved.masked_fill(~mask.unsqueeze(-1), 0.0), mask


class AppendStep(Block):
    """A vector as the newest step of a history, right behind its last real one (BST, Chen et al. 2019: the target joins the sequence)."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "vector")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence as wide as the first input, one step longer.

        Raises:
            ContractError: Step and vector differ in width, or one of them is a row index.
        """
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index:
            raise ContractError(f"a vector of width {specs[1].width} cannot join steps of width {specs[0].width}: project one of them")
        return TensorSpec("sequence", specs[1].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] with its mask and [A, E] to [A, L + 1, E]."""
        return _Append()


class _Append(nn.Module):
    def forward(self, value: Steps, vector: torch.Tensor) -> Steps:
        steps, mask = value
        count = mask.to(torch.int64).sum(1, keepdim=True)
        place = torch.arange(steps.shape[1] + 1, device=steps.device)
        longer = functional.pad(steps.masked_fill(~mask.unsqueeze(-1), 0.0), (0, 0, 0, 1))
        return torch.where((place == count).unsqueeze(-1), vector.unsqueeze(1), longer), place <= count


class NextSteps(Block):
    """What follows each step: step t of the output is step t + 1 of the input, and the last real step has none."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input."""
        return specs[0]

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] (or int64 [A, L]) to the same shape."""
        return _Next()


class _Next(nn.Module):
    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        ahead = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
        moved = torch.cat([steps[:, 1:], torch.zeros_like(steps[:, :1])], 1)
        return moved * (ahead if steps.dim() == 2 else ahead.unsqueeze(-1)), ahead
