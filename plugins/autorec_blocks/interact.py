"""Blocks that multiply features: factorization machine and cross network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Int

__all__ = ["CrossNetwork", "FactorizationMachine"]


class FactorizationMachine(Block):
    """Pool all field pairs by half the difference of squared sum and sum of squares (Rendle 2010, lemma 3.1)."""

    class Config(ComponentConfig):
        """Options."""

        reduce: bool = Field(True, description="Sum over the embedding dimension too: one number a row instead of a vector.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector of width 1, or of the embedding width."""
        return TensorSpec("vector", specs[0].axis, width=1 if self.config.reduce else specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, 1] or [A, E]."""
        return _Fm(self.config.reduce)


class _Fm(nn.Module):
    def __init__(self, reduce: bool) -> None:
        super().__init__()
        self.reduce = reduce

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        pairs = 0.5 * (fields.sum(1) ** 2 - (fields**2).sum(1))
        return pairs.sum(1, keepdim=True) if self.reduce else pairs


class CrossNetwork(Block):
    """x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l (DCN-V2, Wang et al. 2021, equation 1)."""

    class Config(ComponentConfig):
        """Options."""

        cross_layers: Annotated[int, Int(1, 5)] = Field(2, description="Number of crosses; the degree is one more.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the input."""
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, D]."""
        return _Cross(specs[0].width, self.config.cross_layers)


class _Cross(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, first: torch.Tensor) -> torch.Tensor:
        value = first
        for layer in self.layers:
            value = first * layer(value) + value
        return value
