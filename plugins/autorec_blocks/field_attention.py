"""Self-attention among the fields of one row: AutoInt's interacting layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.autograd.function import once_differentiable

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand, product, unwatched
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["FieldAttention"]


class FieldAttention(Block):
    """ReLU(heads side by side + W_res e), each head Σ_k softmax_k(⟨W_q e_m, W_k e_k⟩) W_v e_k (Song et al. 2019, equations 5 to 8)."""

    class Config(ComponentConfig):
        """Options."""

        heads: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Attention heads.")
        head_width: Annotated[int, Choice(4, 8, 16, 32)] = Field(
            8, ge=1, description="Width of a head; a field leaves as wide as all heads."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return as many fields as there were, each as wide as all heads together.

        Raises:
            ContractError: There is a single field, which has nothing to attend to, or the fields are row indices.
        """
        if specs[0].index or specs[0].fields < 2:
            raise ContractError("field attention relates embedded fields to each other: it needs at least two")
        return TensorSpec("fields", specs[0].axis, fields=specs[0].fields, width=self.config.heads * self.config.head_width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, F, heads · head_width]."""
        return _FieldAttention(specs[0].width, self.config.heads, self.config.head_width)


class _FieldAttention(nn.Module):
    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.wide = heads, heads * size
        self.project = nn.Linear(width, 4 * heads * size, bias=False)  # query, key, value and residual in one product

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        if by_hand(fields, self.project.weight) and unwatched(self.project):
            rows = fields.transpose(0, 1).reshape(-1, fields.shape[2])  # no copy of what another such layer gave
            found: torch.Tensor = _Attention.apply(rows, self.project.weight, self.heads, fields.shape[1])  # type: ignore[no-untyped-call]
            return found.view(fields.shape[1], fields.shape[0], self.wide).transpose(0, 1)
        query, key, value, kept = self.project(fields).split(self.wide, 2)
        if self.heads > 1:
            mixed = self._attend(*(part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (query, key, value)))
            return torch.relu(mixed.transpose(1, 2).flatten(2) + kept)
        return torch.relu(self._attend(query, key, value) + kept)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        fits = query @ key.transpose(-1, -2)
        columns = fits.reshape(-1, fits.shape[-1]).t().contiguous()  # a softmax down columns is vectorised, one along so short rows is not
        return torch.softmax(columns, 0).t().reshape(fits.shape) @ value


class _Attention(torch.autograd.Function):
    """The layer with the batch innermost, so that products of numbers a head are passes over rows that lie side by side.

    Of a field there are head widths so small that a batched product spends its time on being called; here every pass multiplies a number
    of all rows, heads and field pairs at once. Nothing is transposed: a layer reads and leaves its values column by column.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, heads: int, fields: int) -> torch.Tensor:
        """Return float32 [F · A, W], stored by columns, of rows float32 [F · A, E] and the weight [4 W, E]."""
        projected = product(weight, rows)
        query, key, value, kept = _apart(projected, heads, fields)
        shares = torch.softmax(_fits(query, key), 2)
        mixed = _mix(shares, value).add_(kept).relu_()
        ctx.heads, ctx.fields = heads, fields
        ctx.save_for_backward(rows, weight, projected, shares, mixed)
        return mixed.view(-1, len(rows)).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, projected, shares, mixed = ctx.saved_tensors
        query, key, value, _ = _apart(projected, ctx.heads, ctx.fields)
        moved = torch.empty_like(projected)
        of_query, of_key, of_value, of_kept = _apart(moved, ctx.heads, ctx.fields)
        passed = torch.ops.aten.threshold_backward(gradient.t().contiguous().view_as(mixed), mixed, 0)
        of_kept.copy_(passed)
        _mix(shares.transpose(1, 2), passed, of_value)
        of_fits = torch._softmax_backward_data(_fits(passed, value), shares, 2, shares.dtype)
        _mix(of_fits, key, of_query)
        _mix(of_fits.transpose(1, 2), query, of_key)
        of_rows = product(weight.t().contiguous(), moved.t()).t() if ctx.needs_input_grad[0] else None
        if of_rows is not None and rows.stride(1) == 1:
            of_rows = of_rows.contiguous()
        return of_rows, product(moved, rows.t()) if ctx.needs_input_grad[1] else None, None, None


def _apart(projected: torch.Tensor, heads: int, fields: int) -> tuple[torch.Tensor, ...]:
    """Return the four parts [H, D, F, A] of float32 [4 H D, F · A]."""
    return projected.view(4, heads, -1, fields, projected.shape[1] // fields).unbind(0)


def _fits(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return [H, F, F, A], the inner products over D of [H, D, F, A] with [H, D, F, A]."""
    left, right = left.unsqueeze(3), right.unsqueeze(2)
    total = left[:, 0] * right[:, 0]
    for number in range(1, left.shape[1]):
        total.addcmul_(left[:, number], right[:, number])
    return total


def _mix(shares: torch.Tensor, values: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return [H, D, F, A], the sums of values [H, D, F, A] over fields, weighed by [H, F, F, A]: Σ_k s_mk v_k."""
    shares, values = shares.unsqueeze(1), values.unsqueeze(3)
    total = torch.mul(shares[:, :, :, 0], values[:, :, 0], out=out)
    for number in range(1, values.shape[2]):
        total.addcmul_(shares[:, :, :, number], values[:, :, number])
    return total
