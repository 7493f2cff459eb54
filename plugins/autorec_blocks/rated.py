"""One number for each of very many rows by affine layers with rectifiers: the units that attention asks of every step or field pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from autorec_kernel.models import product, unwatched

__all__ = ["rated", "unit_layers"]

_ROWS = 2048  # taken through all layers at a time: what they compute stays in the cache


def unit_layers(unit: nn.Sequential) -> list[nn.Linear] | None:
    """Return the affine layers of a unit, the one with a single output last; None where anything but rectifiers stands between them."""
    layers = [part for part in unit if isinstance(part, nn.Linear)]
    kinds = [nn.ReLU if place % 2 else type(part) for place, part in enumerate(unit)]
    plain = len(layers) > 1 and len(unit) == 2 * len(layers) - 1 and all(type(part) is kind for part, kind in zip(unit, kinds, strict=True))
    return layers if plain and unwatched(*layers) and all(layer.bias is not None for layer in layers[:-1]) else None


def rated(rows: torch.Tensor, weights: Sequence[torch.Tensor], offsets: Sequence[torch.Tensor], last: torch.Tensor) -> torch.Tensor:
    """Return float32 [M], vᵀ max(0, W_n … max(0, W_1 x + b_1) … + b_n) of each row x.

    Args:
        rows: float32 [M, I].
        weights: float32 [H_l, H_{l-1}], one a layer, at least one.
        offsets: float32 [H_l].
        last: float32 [H_n], v.
    """
    found: torch.Tensor = _Rated.apply(rows, last, *weights, *offsets)  # type: ignore[no-untyped-call]
    return found


class _Rated(torch.autograd.Function):
    """Block of rows by block of rows, forward and backward."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, last: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        count = len(parameters) // 2
        scores, hidden = [], []
        for values in torch.split(rows, _ROWS):
            for weight, offset in zip(parameters[:count], parameters[count:], strict=True):
                values = _times(values, weight, offset)
                hidden.append(values)
            scores.append(values @ last)
        ctx.save_for_backward(rows, last, *parameters[:count], *hidden)
        ctx.count = count
        return torch.cat(scores)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (rows, last, *kept), count = ctx.saved_tensors, ctx.count
        weights, hidden = kept[:count], kept[count:]
        of_weights, of_offsets = [torch.zeros_like(weight) for weight in weights], [weight.new_zeros(len(weight)) for weight in weights]
        of_last, of_rows = torch.zeros_like(last), []
        for block, (given, scale) in enumerate(zip(torch.split(rows, _ROWS), torch.split(gradient, _ROWS), strict=True)):
            values = [given, *hidden[block * count : (block + 1) * count]]
            of_last.addmv_(values[-1].t(), scale)
            moved = torch.outer(scale, last)
            for layer in range(count - 1, -1, -1):
                torch.ops.aten.threshold_backward.grad_input(moved, values[layer + 1], 0, grad_input=moved)
                of_weights[layer].addmm_(moved.t(), values[layer])
                of_offsets[layer].add_(moved.sum(0))
                if layer or ctx.needs_input_grad[0]:
                    moved = _times(moved, weights[layer].t())
            of_rows.append(moved)
        return torch.cat(of_rows) if ctx.needs_input_grad[0] else None, of_last, *of_weights, *of_offsets


def _times(values: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor | None = None) -> torch.Tensor:
    """Return values · weightᵀ, or max(0, values · weightᵀ + offset); what is left behind the last whole block by torch's BLAS.

    The quicker operator compiles code for every number of rows that it meets, and that of real steps is another one in each batch.
    """
    if len(values) == _ROWS:
        return product(values, weight, offset, rectified=offset is not None)
    found = functional.linear(values, weight, offset)
    return found if offset is None else found.relu_()
