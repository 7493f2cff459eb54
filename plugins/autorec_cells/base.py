"""What the blocks of this package share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["Block", "Steps", "numbers"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]


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
