"""Matrix products of training on the CPU: oneDNN's float32 kernels instead of torch's BLAS, which on some processors is half as fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["by_hand", "derived", "linear", "product", "quick_products", "unwatched"]

_NARROW = 16  # narrower products gain nothing
_WIDE = 64  # a weight gradient of narrower layers is quicker by BLAS
_OFFERED = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # a private operator: it may go
_BLOCK = 1024  # rows of a weight gradient taken at a time: their transposes stay in the cache
_derived: ContextVar[bool] = ContextVar("derived", default=False)


def linear(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return values · weightᵀ + bias, as `torch.nn.functional.linear` does, by the quickest kernel where a gradient is wanted.

    Args:
        values: float32 [..., I].
        weight: float32 [O, I].
        bias: float32 [O].

    Returns:
        float32 [..., O]; equal to the other kernel's up to rounding.
    """
    if not _suits(values, weight):
        return functional.linear(values, weight, bias)
    found: torch.Tensor = _Product.apply(values if values.dim() == 2 else values.reshape(-1, values.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return found if values.dim() == 2 else found.view(*values.shape[:-1], weight.shape[0])


@contextmanager
def quick_products(network: nn.Module) -> Iterator[None]:
    """Let the affine layers of a network use `linear` while it trains; parameters, names and results outside stay as they are."""
    layers = [layer for layer in network.modules() if type(layer) is nn.Linear]
    for layer in layers:
        layer.__class__ = _Affine
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Linear


def by_hand(*tensors: torch.Tensor) -> bool:
    """Return whether gradients written by hand are of use: float32 on the CPU, a gradient is wanted, and nothing traces the code."""
    if torch.compiler.is_compiling() or _derived.get() or not torch.is_grad_enabled():  # first: an export knows no number of rows
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.numel() for tensor in tensors)


@contextmanager
def derived() -> Iterator[None]:
    """Let torch derive every gradient for a while: each product is then one that the formulas name, and `by_hand` is False."""
    token = _derived.set(True)
    try:
        yield
    finally:
        _derived.reset(token)


def unwatched(*layers: nn.Module) -> bool:
    """Return whether all are affine layers without hooks and without a forward pass of their own: what they hold tells what they do."""
    kinds = (nn.Linear, _Affine)
    return all(type(layer) in kinds and not layer._forward_hooks and not layer._forward_pre_hooks for layer in layers)


class _Affine(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return linear(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        return product(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            product(gradient, weight.t()) if wanted[0] else None,
            _of_weight(gradient, values) if wanted[1] else None,
            gradient.sum(0) if wanted[2] else None,
        )


def _suits(values: torch.Tensor, weight: torch.Tensor) -> bool:
    return by_hand(values, weight) and min(weight.shape) >= _NARROW


def product(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, rectified: bool = False) -> torch.Tensor:
    """Return values · weightᵀ + bias without a gradient, by torch's BLAS where the quicker operator is missing or refuses.

    Args:
        values: float32 [A, I]; copied unless it is contiguous.
        weight: float32 [O, I], of any strides: of a matrix that is stored by columns the view [O, I] costs no copy.
        bias: float32 [O].
        rectified: Whether negative results become 0.
    """
    if _OFFERED and values.dtype == torch.float32:
        try:
            found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "relu" if rectified else "none", [], "")
        except RuntimeError:  # other arguments in another version, or shapes it does not take
            pass
        else:
            return found
    plain = functional.linear(values, weight, bias)
    return plain.relu_() if rectified else plain


def _of_weight(gradient: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return float32 [O, I], gradientᵀ · values, block of rows by block of rows in a fixed order."""
    if min(gradient.shape[1], values.shape[1]) < _WIDE:
        return gradient.t() @ values
    if gradient.shape[1] > values.shape[1]:  # the narrower one is transposed
        return _of_weight(values, gradient).t().contiguous()
    pairs = zip(torch.split(gradient, _BLOCK), torch.split(values, _BLOCK), strict=True)
    parts = (product(rows.t(), one.t()) for rows, one in pairs)
    total = next(parts)
    for part in parts:
        total += part
    return total
