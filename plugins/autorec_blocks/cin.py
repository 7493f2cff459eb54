"""The compressed interaction network of xDeepFM: explicit crosses of a bounded degree, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import linear
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Int, Ints

__all__ = ["CompressedInteraction"]


class CompressedInteraction(Block):
    """X^k_h = Σ_ij W^k_hij (X^{k-1}_i ⊙ X^0_j), every layer's maps summed over the embedding (Lian et al. 2018, equation 6)."""

    class Config(ComponentConfig):
        """Options."""

        layer_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 128, log=True), length=Int(1, 3))] = Field(
            (64, 64), min_length=1, description="Feature maps of each layer."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one number a feature map.

        Raises:
            ContractError: The fields are row indices.
        """
        if specs[0].index:
            raise ContractError("the interaction network multiplies embedded fields, got row indices")
        return TensorSpec("vector", specs[0].axis, width=sum(self.config.layer_units))

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, Σ layer_units]."""
        return _Cin(specs[0].fields, self.config.layer_units)


class _Cin(nn.Module):
    def __init__(self, fields: int, units: Sequence[int]) -> None:
        super().__init__()
        sizes = (fields, *units)
        self.layers = nn.ModuleList(_CinLayer(before, fields, after) for before, after in pairwise(sizes))

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        first = fields.transpose(1, 2).flatten(0, 1)  # [A·E, F]: each number of the embedding is a row of its own
        value, sums = first, []
        for layer in self.layers:
            value = layer(value, first)
            sums.append(value.reshape(-1, fields.shape[2], value.shape[1]).sum(1))
        return torch.cat(sums, 1)


class _CinLayer(nn.Module):
    """One dense product, before or after the multiplication with the fields, whichever makes the smaller intermediate value."""

    def __init__(self, before: int, fields: int, after: int) -> None:
        super().__init__()
        self.sizes, self.outer = (before, fields, after), before < after
        bound = (3.0 / (before * fields)) ** 0.5
        self.weight = nn.Parameter(torch.empty(before, fields, after).uniform_(-bound, bound))

    def forward(self, value: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        before, fields, after = self.sizes
        if self.outer:
            products = (value.unsqueeze(2) * first.unsqueeze(1)).flatten(1)
            return linear(products, self.weight.reshape(before * fields, after).t())
        moved = linear(value, self.weight.reshape(before, fields * after).t()).reshape(-1, fields, after)
        return torch.bmm(first.unsqueeze(1), moved).squeeze(1)
