"""Blocks that make and join sets of fields: numbers as fields, several sets as one, hashed crosses of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["HashCrosses", "JoinFields", "NumericFields"]

_PRIME = 2**31 - 1


class NumericFields(Block):
    """Numbers as fields: each number times a learned vector (Song et al. 2019, equation 4); a group of numbers sums to one field."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Choice(4, 8, 16, 32)] = Field(16, ge=1, description="Width of a field.")
        groups: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            (), description="How many neighbouring numbers make up each field, e.g. 64 for a text vector; empty = one number a field."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field a number, or one a group.

        Raises:
            ContractError: The groups do not cover the numbers.
        """
        groups = self.config.groups
        if groups and sum(groups) != specs[0].width:
            raise ContractError(f"groups {groups} cover {sum(groups)} numbers, the vector has {specs[0].width}")
        return TensorSpec("fields", specs[0].axis, fields=len(groups) or specs[0].width, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, F, width]."""
        return _NumericFields(self.config.groups or (1,) * specs[0].width, self.config.width)


class _NumericFields(nn.Module):
    belongs: torch.Tensor

    def __init__(self, groups: Sequence[int], width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sum(groups), width).normal_(0.0, 0.05))
        self.grouped = any(size > 1 for size in groups)
        owner = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(groups))
        belongs = (owner.unsqueeze(0) == torch.arange(len(groups)).unsqueeze(1)).float() if self.grouped else torch.zeros(0)
        self.register_buffer("belongs", belongs, persistent=False)  # [F, D]: 1 where a number is part of a field

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        if not self.grouped:
            return numbers.unsqueeze(-1) * self.weight
        spread = (self.belongs.unsqueeze(-1) * self.weight).transpose(0, 1).flatten(1)  # [D, F·E]
        return (numbers @ spread).reshape(numbers.shape[0], -1, self.weight.shape[1])


class JoinFields(Block):
    """Several sets of fields of one width as one set."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return all fields, in the order of the inputs.

        Raises:
            ContractError: The widths differ.
        """
        widths = {spec.width for spec in specs}
        if len(widths) > 1 or any(spec.index for spec in specs):
            raise ContractError(f"join-fields puts fields of one width together, got widths {[spec.width for spec in specs]}")
        return TensorSpec("fields", specs[0].axis, fields=sum(spec.fields for spec in specs), width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: fields [A, F_i, E] to [A, ΣF_i, E]."""
        return _Join()


class _Join(nn.Module):
    def forward(self, *fields: torch.Tensor) -> torch.Tensor:
        return torch.cat(fields, 1)


class HashCrosses(Block):
    """A weight for every pair of categories that occur together, found by hashing: crosses of a wide model (Cheng et al. 2016, equation 1).

    Pair (i, j) of columns with rows a, b reads bucket ((m_i a + n_j b + k_ij) mod p) mod buckets, p = 2³¹-1 (Carter and Wegman 1979), with
    fixed factors. A pair with an unknown row (0) weighs nothing.
    """

    class Config(ComponentConfig):
        """Options."""

        buckets: Annotated[int, Int(1024, 1_048_576, log=True)] = Field(
            32_768, ge=1, description="Weights that all pairs share by hashing."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector of width 1.

        Raises:
            ContractError: The input is no index of at least two columns.
        """
        if not specs[0].index or specs[0].fields < 2:
            raise ContractError("crosses take the indices of at least two columns (a @fields source with index = true)")
        return TensorSpec("vector", specs[0].axis, width=1)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, F] to float32 [A, 1]."""
        return _HashCrosses(specs[0].fields, self.config.buckets)


class _HashCrosses(nn.Module):
    left: torch.Tensor
    right: torch.Tensor
    factors: torch.Tensor

    def __init__(self, fields: int, buckets: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.weight = nn.Parameter(torch.zeros(buckets))
        left, right = torch.triu_indices(fields, fields, 1).unbind(0)
        drawn = np.random.default_rng(0).integers(1, _PRIME, (3, len(left)))  # fixed: training and serving hash alike
        for name, tensor in (("left", left), ("right", right), ("factors", torch.from_numpy(drawn))):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        left, right = rows.index_select(1, self.left), rows.index_select(1, self.right)
        mixed = left * self.factors[0] + right * self.factors[1] + self.factors[2]
        buckets = mixed % _PRIME % self.buckets
        weights = self.weight.index_select(0, buckets.flatten()).view_as(buckets)
        return (weights * ((left > 0) & (right > 0))).sum(1, keepdim=True)
