"""Negatives that are drawn by popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Float

__all__ = ["PopularItems"]


class PopularItems(Block):
    """Item rows drawn with probability proportional to max(1, count)^power, new ones every training step (Hidasi and Karatzoglou 2018).

    In eval mode the draw is the quantiles of that distribution, the same in every call.
    """

    class Config(ComponentConfig):
        """Options."""

        count: int = Field(1024, ge=1, description="Items drawn.")
        power: Annotated[float, Float(0.0, 1.0)] = Field(0.75, ge=0, description="Exponent of the counts; 0 = uniform.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table of item rows."""
        return TensorSpec("table", "item", rows=self.config.count, index=True)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Sum up the probabilities, item by item."""
        history: Interactions = arrays["interactions"]
        counts = np.bincount(history.items, minlength=history.item_count)[1:]
        sums = np.cumsum(np.maximum(counts, 1).astype(np.float64) ** self.config.power)
        return {"sums": (sums / sums[-1]).astype(np.float32)}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return about 10 ns an event."""
        return 1e-8 * schema.events

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: nothing to int64 [count]."""
        return _PopularItems(arrays["sums"], self.config.count)


class _PopularItems(nn.Module):
    sums: torch.Tensor

    def __init__(self, sums: np.ndarray, count: int) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("sums", torch.from_numpy(np.array(sums, dtype=np.float32)))

    def forward(self) -> torch.Tensor:
        """Return int64 [count], rows from 1."""
        places = torch.arange(self.count, device=self.sums.device, dtype=torch.float32) + 0.5
        shares = torch.rand(self.count, device=self.sums.device) if self.training else places / self.count
        return torch.searchsorted(self.sums, shares).clamp(max=len(self.sums) - 1) + 1
