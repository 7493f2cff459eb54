"""Dice, the activation of deep interest networks, with its gradient written by hand for the processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from autorec_kernel.models import by_hand

__all__ = ["Dice"]

_EPSILON, _MOMENTUM = 1e-8, 0.1
_NUMBERS = 1 << 16  # taken through all steps at a time: what they compute stays in the cache


class Dice(nn.Module):
    """f(s) = p(s)·s + (1 - p(s))·α·s with p(s) = σ((s - E[s]) / √(Var[s] + ε)) a channel (Zhou et al. 2018, equation 3).

    Moments are those of the batch while training and running averages of them in serving, so that a row is answered alike in any batch.
    α starts at 0 and is learned, one a channel; ε = 1e-8 as in the paper. A batch of one row keeps the running moments.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32 [..., width]; rows whose `mask` (bool [...]) is False do not enter the moments."""
        rows = values.reshape(-1, self.alpha.shape[0])
        if not self.training or len(rows) < 2:
            return self._gated(rows, (rows - self.mean) * torch.rsqrt(self.variance + _EPSILON)).view_as(values)
        if mask is None and by_hand(rows):
            found, mean, variance = _Gated.apply(rows, self.alpha)  # type: ignore[no-untyped-call]
            self._remember(mean, variance, _MOMENTUM)
            return found.view_as(values)  # type: ignore[no-any-return]
        scaled = self._standardised(rows, torch.ones_like(rows[:, 0]) if mask is None else mask.flatten().to(rows.dtype))
        return self._gated(rows, scaled).view_as(values)

    def _gated(self, rows: torch.Tensor, scaled: torch.Tensor) -> torch.Tensor:
        return rows * torch.addcmul(self.alpha, torch.sigmoid(scaled), 1.0 - self.alpha)

    def _standardised(self, rows: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return float32 [M, width] by the moments of the rows whose `real` [M] is 1, and remember those."""
        share = (real / real.sum().clamp(min=1)).unsqueeze(0)  # sums over rows are matrix products, which gradients pass quickly
        mean = share @ rows
        centred = rows - mean
        variance = share @ centred.square()
        self._remember(mean[0], variance[0], _MOMENTUM * (real.sum() > 1))
        return centred * torch.rsqrt(variance + _EPSILON)

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor, share: float | torch.Tensor) -> None:
        with torch.no_grad():
            self.mean.lerp_(mean, share)
            self.variance.lerp_(variance, share)


class _Gated(torch.autograd.Function):
    """Dice of float32 [M, W] by the moments of its rows, block of rows by block of rows; returns those moments too.

    With z = (s - E) r, r = (Var + ε)^-1/2, p = σ(z) and g the gradient of f: ∂α = Σ g s (1 - p), u = ∂z = g s (1 - α) p (1 - p), and
    ∂s = g (α + (1 - α) p) + r u - (r Σu + r z Σuz) / M.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean = rows.mean(0)
        size = max(1, _NUMBERS // rows.shape[1])
        variance = torch.stack([(part - mean).square_().sum(0) for part in torch.split(rows, size)]).sum(0) / len(rows)
        scale, rest = torch.rsqrt(variance + _EPSILON), 1.0 - alpha
        found = torch.empty_like(rows)
        for part, made in zip(torch.split(rows, size), torch.split(found, size), strict=True):
            torch.sub(part, mean, out=made).mul_(scale).sigmoid_().mul_(rest).add_(alpha).mul_(part)
        ctx.save_for_backward(rows, alpha, mean, scale)
        ctx.mark_non_differentiable(mean, variance)
        return found, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, alpha, mean, scale = ctx.saved_tensors
        size, rest = max(1, _NUMBERS // rows.shape[1]), 1.0 - alpha
        of_rows, of_alpha, moved, turned = torch.empty_like(rows), torch.zeros_like(alpha), torch.zeros_like(alpha), torch.zeros_like(alpha)
        for part, given, made in zip(torch.split(rows, size), torch.split(gradient, size), torch.split(of_rows, size), strict=True):
            scaled = (part - mean).mul_(scale)
            open_ = torch.sigmoid(scaled)
            torch.mul(open_, rest, out=made).add_(alpha).mul_(given)
            closed = torch.rsub(open_, 1.0)
            through = (given * part).mul_(closed)
            of_alpha += through.sum(0)
            through.mul_(open_).mul_(rest)
            moved += through.sum(0)
            made.add_(through.mul(scale))
            turned += through.mul_(scaled).sum(0)
        slope = scale.square().mul_(turned).div_(-len(rows))
        offset = (scale * moved).div_(-len(rows)) - slope * mean
        for part, made in zip(torch.split(rows, size), torch.split(of_rows, size), strict=True):
            made.addcmul_(part, slope).add_(offset)
        return of_rows, of_alpha
