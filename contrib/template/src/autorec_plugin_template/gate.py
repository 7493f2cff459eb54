"""`Gate`: a gated linear unit as a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Int

__all__ = ["Gate"]


class Gate:
    """A gated linear unit: `(x W + b) ⊙ sigmoid(x V + c)` (Dauphin et al. 2017, equation 1)."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(4, 256, log=True)] = Field(32, description="Output dimension.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector of `width` on the axis of the input."""
        return TensorSpec("vector", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the layer: float32 [A, D] to [A, width]."""
        return nn.Sequential(nn.Linear(specs[0].width, 2 * self.config.width), nn.GLU())
