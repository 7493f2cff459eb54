"""Blocks that multiply what they are given: factorization machine, all field pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.autograd.function import once_differentiable

from autorec_blocks.base import Block
from autorec_blocks.pair_products import by_columns, pair_products
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["FactorizationMachine", "Pairs", "pair_count", "partners"]


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
        if self.reduce and by_hand(fields):
            found: torch.Tensor = _PairSum.apply(fields)  # type: ignore[no-untyped-call]
            return found
        total = fields.sum(1)
        pairs = 0.5 * (total * total - (fields * fields).sum(1))
        return pairs.sum(1, keepdim=True) if self.reduce else pairs


class _PairSum(torch.autograd.Function):
    """The sum s of all field pairs' inner products: its gradient by field i is Σ_j v_j - v_i."""

    @staticmethod
    def forward(ctx: Any, fields: torch.Tensor) -> torch.Tensor:
        total = fields.sum(1)
        ctx.save_for_backward(fields, total)
        flat = fields.flatten(1)
        return ((total * total).sum(1, keepdim=True) - (flat * flat).sum(1, keepdim=True)).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        fields, total = ctx.saved_tensors
        found: torch.Tensor = (total.unsqueeze(1) - fields).mul_(gradient.unsqueeze(2))
        return found


class Pairs(Block):
    """The product of every pair of fields, one field a pair; pairs run by distance: (0,1), (1,2), …, (F-1,0), (0,2), ….

    Each of the F(F-1)/2 pairs occurs once. Distances are turns of the whole set, which cost a fifth of picking pairs one by one.
    """

    class Config(ComponentConfig):
        """Options."""

        inner: bool = Field(False, description="Sum over the embedding dimension: one number a pair instead of a field.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field a pair, or a vector of one number a pair.

        Raises:
            ContractError: There is a single field.
        """
        if self.config.inner:
            return TensorSpec("vector", specs[0].axis, width=pair_count(specs[0]))
        return TensorSpec("fields", specs[0].axis, fields=pair_count(specs[0]), width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, F(F-1)/2, E] or [A, F(F-1)/2]."""
        return _Pairs(pair_count(specs[0]), self.config.inner)


class _Pairs(nn.Module):
    def __init__(self, count: int, inner: bool) -> None:
        super().__init__()
        self.count, self.inner = count, inner

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        if by_hand(fields):
            turned = by_columns(fields) if self.inner else fields.contiguous().permute(1, 2, 0)
            found = pair_products(turned.unsqueeze(1), turned)
            return found.sum(1).t() if self.inner else found.permute(2, 0, 1)
        products = [fields * other for other in partners(fields)]
        return torch.cat([product.sum(2) for product in products] if self.inner else products, 1)[:, : self.count]


def partners(fields: torch.Tensor) -> list[torch.Tensor]:
    """Return the fields [A, F, E] turned by 1, 2, …, F // 2 places: the second members of the pairs that field 0, 1, … F-1 leads.

    For even F the last turn holds each of its pairs twice: only its first F/2 fields are wanted.
    """
    count = fields.shape[1]
    return [torch.cat([fields[:, turn:], fields[:, :turn]], 1) for turn in range(1, count // 2 + 1)]


def pair_count(spec: TensorSpec) -> int:
    """Return F(F-1)/2 of a `fields` value.

    Raises:
        ContractError: There is a single field, or the fields are row indices.
    """
    if spec.fields < 2 or spec.index:
        raise ContractError(f"pairs need at least two fields of numbers, got {spec.fields}{' of row indices' if spec.index else ''}")
    return spec.fields * (spec.fields - 1) // 2
