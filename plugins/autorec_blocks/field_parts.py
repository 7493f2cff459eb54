"""Several fields where there is one vector, and few where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block, numbers
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["MixFields", "SplitFields"]


class SplitFields(Block):
    """One affine layer whose result is cut into fields, so that blocks which relate fields to each other can read a vector."""

    class Config(ComponentConfig):
        """Options."""

        fields: Annotated[int, Int(2, 8), Field(ge=1)] = Field(4, description="Number of fields.")
        width: Annotated[int, Choice(4, 8, 16, 32), Field(ge=1)] = Field(16, description="Width of a field.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return `fields` fields.

        Raises:
            ContractError: The input is a row index.
        """
        numbers("split-fields", specs)
        return TensorSpec("fields", specs[0].axis, fields=self.config.fields, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, fields, width]."""
        return _Split(specs[0].width, self.config.fields, self.config.width)


class _Split(nn.Module):
    def __init__(self, width: int, fields: int, each: int) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(width, fields * each), (fields, each)

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(vector).reshape(-1, *self.shape)
        return found


class MixFields(Block):
    """Weighted sums of all fields, alike in every number of them: bounds the work of blocks that grows with the square of the fields."""

    class Config(ComponentConfig):
        """Options."""

        fields: Annotated[int, Int(4, 32), Field(ge=1)] = Field(16, description="Number of fields that are left.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return `fields` fields as wide as before.

        Raises:
            ContractError: The fields are row indices.
        """
        numbers("mix-fields", specs)
        return TensorSpec("fields", specs[0].axis, fields=self.config.fields, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, fields, E]."""
        return _Mix(specs[0].fields, self.config.fields)


class _Mix(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layer = nn.Linear(before, after, bias=False)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.layer(fields.transpose(1, 2))
        return mixed.transpose(1, 2)
