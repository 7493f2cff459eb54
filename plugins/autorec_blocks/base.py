"""What every block of this package shares: the one-argument constructor, the defaults of the contract, and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

from torch import nn

from autorec_blocks.dice import Dice
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["ACTIVATIONS", "Activation", "Block", "activation", "numbers"]

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


def activation(name: str, width: int = 1) -> nn.Module:
    """Return a fresh activation module for values of `width` channels (last axis), which only `dice` needs to know."""
    return Dice(width) if name == "dice" else ACTIVATIONS[name]()


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
