"""What every block of this package shares: the one-argument constructor and the defaults of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port

__all__ = ["ACTIVATIONS", "Block", "activation"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "prelu": nn.PReLU,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """Return a fresh activation module."""
    return ACTIVATIONS[name]()


class Block:
    """A block: config in, specs and modules out."""

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    accepts: ClassVar[tuple[Port, ...]] = ()
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config
