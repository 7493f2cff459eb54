"""`Merge`: the second stage's order of a shortlist, as scores of the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["Merge"]

_TINY = 1e-30


class Merge:
    """Scores in which the shortlisted items come first, with the scores given to them, and the others follow in their first order.

    What is not shortlisted lies below the lowest of the shortlisted by 1 + (m - s) / c: s is its first score, m the row's largest one, and
    c the largest one in size. Row 0 is no item and counts in neither.
    """

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("scores", "fields", "vector")
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return catalogue scores.

        Raises:
            ContractError: The inputs are not scores of a catalogue, a shortlist of it, and one number a shortlisted item.
        """
        first, chosen, given = specs
        if not first.rows or not chosen.index or given.index or given.width != chosen.fields:
            told = f"{first.rows} rows, {chosen.fields} {'items' if chosen.index else 'fields of numbers'}, {given.width} numbers"
            raise ContractError(f"merge takes scores of a catalogue, item rows, and one number for each of them; got {told}")
        return TensorSpec("scores", first.axis, width=first.rows, rows=first.rows, link="value")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, N], int64 [A, K] and float32 [A, K] to [A, N]."""
        return _Merge()


class _Merge(nn.Module):
    def forward(self, first: torch.Tensor, chosen: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        items = first[:, 1:]
        size = items.abs().amax(1, keepdim=True).clamp(min=_TINY)
        below = (first - items.amax(1, keepdim=True)) / size - 1.0 + given.amin(1, keepdim=True)
        placed = torch.zeros_like(first).scatter_add(1, chosen, given)
        listed = torch.zeros_like(first).scatter_add(1, chosen, torch.ones_like(given))
        return torch.where(listed > 0, placed, below)
