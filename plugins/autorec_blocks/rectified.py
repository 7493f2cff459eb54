"""Affine layers followed by rectifiers, with their gradient written by hand: what deep towers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from autorec_blocks.dropout import Dropout
from autorec_kernel.models import by_hand, product, unwatched

__all__ = ["Tower", "rectified"]


class Tower(nn.Sequential):
    """Modules one after the other; affine layers with rectifiers behind them are trained by `rectified`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, O] of float32 [A, I]."""
        if input.dim() != 2 or not by_hand(input):
            found: torch.Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return found
        waiting: list[nn.Linear] = []
        parts = list(self)
        for part, following in zip_longest(parts, parts[1:]):
            if type(following) is nn.ReLU and isinstance(part, nn.Linear) and unwatched(part) and part.bias is not None:
                waiting.append(part)
            elif not (waiting and type(part) is nn.ReLU):
                input, waiting = _through(part, rectified(input, waiting)), []
        return rectified(input, waiting)


def rectified(values: torch.Tensor, layers: Sequence[nn.Linear]) -> torch.Tensor:
    """Return float32 [A, O], max(0, W x + b) layer after layer; stored by columns, so that no product of the gradient transposes it.

    Args:
        values: float32 [A, I].
        layers: With offsets; none = the values as they are.
    """
    if not layers:
        return values
    found: torch.Tensor = _Rectified.apply(values, *_parameters(layers))  # type: ignore[no-untyped-call]
    return found


def _parameters(layers: Sequence[nn.Linear]) -> list[torch.Tensor]:
    return [*(layer.weight for layer in layers), *(layer.bias for layer in layers)]


def _through(part: nn.Module, values: torch.Tensor) -> torch.Tensor:
    if isinstance(part, Dropout) and not values.is_contiguous():
        return part(values.t()).t()  # type: ignore[no-any-return]  # each number by itself, as they lie in memory
    return part(values)  # type: ignore[no-any-return]


class _Rectified(torch.autograd.Function):
    """x ← max(0, W x + b), with x [I, A]: the gradient of a weight is the product of two matrices as they lie in memory."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        count = len(parameters) // 2
        found = _climb(values.t(), parameters[:count], parameters[count:])
        ctx.save_for_backward(*parameters[:count], *found)
        return found[-1].t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.saved_tensors) // 2
        weights, values = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        turned = [weight.t().contiguous() for weight in weights]
        wanted: bool = ctx.needs_input_grad[0]
        moved = torch.ops.aten.threshold_backward(gradient.t().contiguous(), values[-1], 0)  # not in place: others may read it
        below, of_weights, of_offsets = _descend(moved, turned, values, wanted)
        if not wanted:
            return None, *of_weights, *of_offsets
        return below.t() if values[0].is_contiguous() else below.t().contiguous(), *of_weights, *of_offsets


def _climb(values: torch.Tensor, weights: Sequence[torch.Tensor], offsets: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return float32 [O_l, A] of every layer, the input [I, A] first."""
    found = [values]
    for weight, offset in zip(weights, offsets, strict=True):
        found.append(product(weight, found[-1].t()).add_(offset.unsqueeze(1)).relu_())
    return found


def _descend(
    gradient: torch.Tensor, turned: Sequence[torch.Tensor], values: Sequence[torch.Tensor], wanted: bool
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Return the gradients of the input [I, A] (if wanted), of the weights and of the offsets of layers that `_climb` went through.

    Args:
        gradient: float32 [O, A], contiguous: that of the last layer before its rectifier.
        turned: The weights [O_{l-1}, O_l].
        values: What `_climb` returned.
    """
    of_weights, of_offsets = [], []
    for layer in range(len(turned) - 1, -1, -1):
        of_weights.append(product(gradient, values[layer]))
        of_offsets.append(gradient.sum(1))
        if layer or wanted:
            gradient = product(turned[layer], gradient.t())
        if layer:
            torch.ops.aten.threshold_backward.grad_input(gradient, values[layer], 0, grad_input=gradient)
    return gradient, of_weights[::-1], of_offsets[::-1]
