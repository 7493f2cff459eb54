"""Convolution over a history that looks back only: dilated, so that few layers see many steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Block
from autorec_blocks.dropout import Dropout
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int

__all__ = ["DilatedConvolution"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]


class DilatedConvolution(Block):
    """Residual layers of causal convolution, each with twice the gap of the one below (Yuan et al. 2019, section 3.3 and figure 3b).

    A layer is x + W₂ ⋆ relu(norm(W₁ ⋆ relu(norm(x)))), W₁ with gap d, W₂ with gap 2d. Layers double d from 1, so n layers of kernel k
    see 1 + 3(k - 1)(2ⁿ - 1) steps.
    """

    class Config(ComponentConfig):
        """Options."""

        layers: Annotated[int, Int(1, 5), Field(ge=1)] = Field(3, description="Residual layers; the gap doubles with each.")
        kernel: Annotated[int, Int(2, 5), Field(ge=1)] = Field(3, description="Steps that one convolution reads.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.2, description="Share of units dropped while training.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input.

        Raises:
            ContractError: The steps are row indices.
        """
        if specs[0].index:
            raise ContractError("a convolution takes steps of numbers, got row indices")
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, E]."""
        return _Stack(specs[0].width, self.config)


class _Stack(nn.Module):
    def __init__(self, width: int, config: DilatedConvolution.Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, config, 2**number) for number in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        real = mask.unsqueeze(-1).to(steps.dtype)
        steps = steps * real
        for layer in self.layers:
            steps = layer(steps)
        return self.norm(steps) * real, mask


class _Layer(nn.Module):
    def __init__(self, width: int, config: DilatedConvolution.Config, gap: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.near = nn.Conv1d(width, width, config.kernel, dilation=gap)
        self.far = nn.Conv1d(width, width, config.kernel, dilation=2 * gap)
        self.dropout = Dropout(config.dropout)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        moved = _back(self.near, functional.relu(self.first(steps)))
        added: torch.Tensor = self.dropout(_back(self.far, functional.relu(self.second(moved))))
        return steps + added


def _back(unit: nn.Conv1d, steps: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, L, E]: each step from itself and older ones; before the first one stand zeros."""
    reach = unit.dilation[0] * (unit.kernel_size[0] - 1)
    found: torch.Tensor = unit(functional.pad(steps.transpose(1, 2), (reach, 0)))
    return found.transpose(1, 2)
