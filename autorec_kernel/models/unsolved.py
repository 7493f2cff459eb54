"""`Unsolved`: what stands in a network for a closed form that nobody has paid for yet."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autorec_kernel.records.architecture import TensorSpec

__all__ = ["Unsolved"]


class Unsolved(nn.Module):
    """Stands for a closed form that is not solved yet: right shapes, zeros, no memory; what costs are estimated with."""

    def __init__(self, spec: TensorSpec, *, shared: bool = False) -> None:
        super().__init__()
        self.spec, self._shared = spec, shared

    @property
    def stored(self) -> tuple[int, int]:
        """Return (numbers, bytes) of the table once solved; nothing where another node's is used."""
        if self._shared:
            return 0, 0
        cells = self.spec.rows * self.spec.width
        return (2 * cells, 8 * cells) if self.spec.neighbours else (cells, 4 * cells)

    def forward(self, *inputs: Any) -> Any:
        """Return zeros in the shape of the table."""
        shape = (self.spec.rows, self.spec.width)
        values = torch.zeros(1, 1).expand(shape)
        return (torch.zeros(1, 1, dtype=torch.int32).expand(shape), values) if self.spec.neighbours else values
