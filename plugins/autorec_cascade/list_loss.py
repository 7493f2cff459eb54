"""`ListLoss`: the chosen item against the others of its shortlist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["ListLoss"]


class ListLoss:
    """Cross-entropy of the chosen item's place in a list: ListNet's top-one loss with one relevant item (Cao et al. 2007).

    A row whose list misses the chosen item weighs nothing. Putting the item in would teach what never holds in serving: that the one whose
    score was too low for the list is the right one.
    """

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "fields", "vector")
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: The inputs are not one number an item of a list of several, the list as item rows, and an item row.
        """
        scores, chosen, target = specs
        if scores.index or not chosen.index or not target.index or scores.width != chosen.fields or chosen.fields < 2:
            told = f"{scores.width} numbers for {chosen.fields} {'items' if chosen.index else 'fields of numbers'}"
            raise ContractError(
                f"list-loss takes a number for each item of a list of several, the list and the target as item rows; got {told}"
            )
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, K], int64 [A, K] and int64 [A] to []."""
        return _ListLoss()


class _ListLoss(nn.Module):
    def forward(self, scores: torch.Tensor, chosen: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        hits = ((chosen == target.unsqueeze(1)) & (chosen > 0)).to(scores.dtype)
        weights = hits.sum(1)
        lost = -(torch.log_softmax(scores, 1) * hits).sum(1)
        return lost.sum() / weights.sum().clamp(min=1.0)
