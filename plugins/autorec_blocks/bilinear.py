"""Blocks that multiply through a matrix: field pairs (FiBiNET) and two vectors (bilinear fusion)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.interact import pair_count, partners
from autorec_blocks.pair_products import by_columns, pair_products
from autorec_kernel.config import ComponentConfig
from autorec_kernel.models import by_hand, linear
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["Bilinear", "BilinearPairs"]

Kind = Literal["field_all", "field_each", "field_interaction"]


class BilinearPairs(Block):
    """p_ij = v_i W ⊙ v_j for every pair of fields (bilinear-interaction layer, Huang et al. 2019), in the order of `pairs`.

    field_all: one W. field_each: one for each leading field, F in all: pairs run in a circle, so that each field leads some and no matrix
    lies idle (two fields have one pair, hence one matrix). field_interaction: one for each of the F(F-1)/2 pairs.
    """

    class Config(ComponentConfig):
        """Options."""

        kind: Annotated[Kind, Choice("field_all", "field_each", "field_interaction")] = Field(
            "field_interaction", description="Which pairs share a matrix."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field a pair.

        Raises:
            ContractError: There is a single field.
        """
        return TensorSpec("fields", specs[0].axis, fields=pair_count(specs[0]), width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, F(F-1)/2, E]."""
        fields, width = specs[0].fields, specs[0].width
        if self.config.kind == "field_interaction":
            return _OnePerPair(fields, width)
        return _Leading(fields, 1 if self.config.kind == "field_all" or fields == 2 else fields, width)


def _matrices(count: int, width: int) -> nn.Parameter:
    bound = (3.0 / width) ** 0.5  # keeps the variance of v W
    return nn.Parameter(torch.empty(count, width, width).uniform_(-bound, bound))


class _Leading(nn.Module):
    """One matrix for all, or one a leading field: v_i W is the same for every pair that i leads."""

    def __init__(self, fields: int, count: int, width: int) -> None:
        super().__init__()
        self.weight = _matrices(count, width)
        self.pairs = fields * (fields - 1) // 2

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        if by_hand(fields, self.weight):
            columns = by_columns(fields)
            left = torch.matmul(self.weight.transpose(1, 2), columns).unsqueeze(1)
            return pair_products(left, columns).permute(2, 0, 1)
        single = self.weight.shape[0] == 1
        left = linear(fields, self.weight[0].t()) if single else torch.einsum("afe,fed->afd", fields, self.weight)
        return torch.cat([left * other for other in partners(fields)], 1)[:, : self.pairs]


class _OnePerPair(nn.Module):
    """The matrices of all pairs that a field leads stand side by side: one batched product of F members."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        pairs = fields * (fields - 1) // 2
        self.weight = _matrices(pairs, width)
        self.pairs, self.turns, self.fields, self.width = pairs, fields // 2, fields, width

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        extra = self.turns * self.fields - self.pairs  # an even number of fields has half of the last turn too many
        weight = torch.cat([self.weight, self.weight[:extra]]) if extra else self.weight
        weight = weight.view(self.turns, self.fields, self.width, self.width).permute(1, 2, 0, 3).flatten(2)
        if by_hand(fields, self.weight):
            columns = by_columns(fields)
            led = torch.bmm(weight.transpose(1, 2), columns).view(self.fields, self.turns, self.width, -1)
            return pair_products(led, columns).permute(2, 0, 1)
        left = torch.bmm(fields.transpose(0, 1), weight).reshape(self.fields, -1, self.turns, self.width).permute(1, 2, 0, 3)
        return torch.cat([left[:, turn] * other for turn, other in enumerate(partners(fields))], 1)[:, : self.pairs]


class Bilinear(Block):
    """Σ_h x_hᵀ W_h y_h over chunks of two vectors (bilinear fusion, Mao et al. 2023): one number a row.

    Both vectors are cut into the largest number of equal chunks that divides their widths, `heads` at most.
    """

    class Config(ComponentConfig):
        """Options."""

        heads: Annotated[int, Int(1, 8)] = Field(1, ge=1, description="Chunks, each with a matrix of its own.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector of width 1."""
        return TensorSpec("vector", specs[0].axis, width=1)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D_1] and [A, D_2] to [A, 1]."""
        both = gcd(specs[0].width, specs[1].width)
        heads = max(count for count in range(1, self.config.heads + 1) if both % count == 0)
        return _Bilinear(specs[0].width // heads, specs[1].width // heads, heads)


class _Bilinear(nn.Module):
    def __init__(self, left: int, right: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, left, right))
        for matrix in self.weight.data:
            nn.init.xavier_uniform_(matrix)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        heads = self.weight.shape[0]
        if heads == 1:
            return (linear(left, self.weight[0].t()) * right).sum(1, keepdim=True)
        moved = torch.einsum("ahd,hde->ahe", left.reshape(left.shape[0], heads, -1), self.weight)
        return (moved.flatten(1) * right).sum(1, keepdim=True)
