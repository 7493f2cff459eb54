"""What every block of this package shares: the one-argument constructor, the defaults of the contract, and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["ACTIVATIONS", "Activation", "Block", "Dice", "activation", "numbers"]

Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid", "prelu", "leaky-relu", "dice", "identity"]
_LEAK = 0.2  # slope below zero of `leaky-relu`
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "prelu": nn.PReLU,
    "leaky-relu": partial(nn.LeakyReLU, _LEAK),
    "identity": nn.Identity,
}
_DICE_EPSILON, _DICE_MOMENTUM = 1e-8, 0.1


def activation(name: str, width: int = 1) -> nn.Module:
    """Return a fresh activation module for values of `width` channels (last axis), which only `dice` needs to know."""
    return Dice(width) if name == "dice" else ACTIVATIONS[name]()


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
        if self.training and len(rows) > 1:
            scaled = self._standardised(rows, torch.ones_like(rows[:, 0]) if mask is None else mask.flatten().to(rows.dtype))
        else:
            scaled = (rows - self.mean) * torch.rsqrt(self.variance + _DICE_EPSILON)
        share = torch.sigmoid(scaled)
        return (rows * torch.addcmul(self.alpha, share, 1.0 - self.alpha)).view_as(values)

    def _standardised(self, rows: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return float32 [M, width] by the moments of the rows whose `real` [M] is 1, and remember those."""
        share = (real / real.sum().clamp(min=1)).unsqueeze(0)  # sums over rows are matrix products, which gradients pass quickly
        mean = share @ rows
        centred = rows - mean
        variance = share @ centred.square()
        with torch.no_grad():
            moved = _DICE_MOMENTUM * (real.sum() > 1)
            self.mean.lerp_(mean[0], moved)
            self.variance.lerp_(variance[0], moved)
        return centred * torch.rsqrt(variance + _DICE_EPSILON)


class Block:
    """A block: config in, specs and modules out."""

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    accepts: ClassVar[tuple[Port, ...]] = ()
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config


def numbers(what: str, specs: Sequence[TensorSpec]) -> None:
    """Refuse row indices.

    Raises:
        ContractError: An input holds row indices.
    """
    if any(spec.index for spec in specs):
        raise ContractError(f"{what} takes numbers, got row indices")
