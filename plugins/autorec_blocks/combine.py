"""Blocks that put values together: concatenation, sums, and rows picked from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["Add", "Concat", "Lookup", "SumFields"]


class Concat(Block):
    """Several vectors side by side."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as all inputs together."""
        return TensorSpec("vector", specs[0].axis, width=sum(spec.width for spec in specs))

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vectors [A, D_i] to [A, ΣD_i]."""
        return _Concat()


class _Concat(nn.Module):
    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        return torch.cat(vectors, 1)


class Add(Block):
    """The sum of several vectors; one of another width goes through a bias-free projection to the first one's."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the first input."""
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vectors [A, D_i] to [A, D_0]."""
        return _Add([spec.width for spec in specs])


class _Add(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        wide = widths[0]
        self.projections = nn.ModuleList(nn.Identity() if width == wide else nn.Linear(width, wide, bias=False) for width in widths)

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        total = vectors[0]
        for projection, vector in zip(list(self.projections)[1:], vectors[1:], strict=True):
            total = total + projection(vector)
        return total


class SumFields(Block):
    """The sum of all fields: with fields of width 1 this is a linear model over one-hot columns."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as one field."""
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, E]."""
        return _SumFields()


class _SumFields(nn.Module):
    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return fields.sum(1)


class Lookup(Block):
    """Rows of a table, picked by the index of one column: solved tables (biases, factors) as per-row vectors."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("table", "fields")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one table row a batch row.

        Raises:
            ContractError: The second input is not the index of one column.
        """
        if not specs[1].index or specs[1].fields != 1 or specs[0].index or specs[0].neighbours:
            raise ContractError("lookup takes a table of numbers and the index of one column (a @fields source with index = true)")
        return TensorSpec("vector", specs[1].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: table [R, D] and int64 [A, 1] to [A, D]."""
        return _Lookup()


class _Lookup(nn.Module):
    def forward(self, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(index[:, 0], table)
