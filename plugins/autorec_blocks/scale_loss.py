"""A factor for a loss: how much an auxiliary objective counts beside the main one."""

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
from autorec_kernel.space import Float

__all__ = ["ScaleLoss"]


class ScaleLoss(Block):
    """One loss times a fixed factor."""

    class Config(ComponentConfig):
        """Options."""

        weight: Annotated[float, Float(0.01, 1.0, log=True)] = Field(0.5, gt=0, description="Factor of the loss.")

    accepts: ClassVar[tuple[Port, ...]] = ("loss",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss."""
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [] to []."""
        return _Scale(self.config.weight)


class _Scale(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, loss: torch.Tensor) -> torch.Tensor:
        return self.weight * loss
