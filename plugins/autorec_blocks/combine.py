"""Blocks that put values together: concatenation, sums, products, and rows picked from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.tables import rows_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["Add", "AppendOne", "Concat", "Lookup", "Product", "SumFields"]


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
        if by_hand(*vectors) and all(vector.t().is_contiguous() for vector in vectors):
            return torch.cat([vector.t() for vector in vectors]).t()  # stored by columns, as they are
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


class Product(Block):
    """The element-wise product of vectors of one width (GMF, He et al. 2017, equation 9); `reduce` sums it to their inner product."""

    class Config(ComponentConfig):
        """Options."""

        reduce: bool = Field(False, description="Sum over the width: one number a row instead of a vector.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the inputs, or of width 1.

        Raises:
            ContractError: The widths differ, or an input holds row indices.
        """
        widths = [spec.width for spec in specs]
        if len(set(widths)) != 1 or any(spec.index for spec in specs):
            raise ContractError(f"a product takes vectors of numbers of one width, got {widths}")
        return TensorSpec("vector", specs[0].axis, width=1 if self.config.reduce else widths[0])

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vectors [A, D] to [A, D] or [A, 1]."""
        return _Product(self.config.reduce)


class _Product(nn.Module):
    def __init__(self, reduce: bool) -> None:
        super().__init__()
        self.reduce = reduce

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        total = vectors[0]
        for vector in vectors[1:]:
            total = total * vector
        return total.sum(1, keepdim=True) if self.reduce else total


class AppendOne(Block):
    """A vector with a one behind it: its inner product with an item row then adds the row's last column as a bias."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector that is wider by one.

        Raises:
            ContractError: The input holds row indices.
        """
        if specs[0].index:
            raise ContractError("append-one takes a vector of numbers, got row indices")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width + 1)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, D] to [A, D + 1]."""
        return _AppendOne()


class _AppendOne(nn.Module):
    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(vector, (0, 1), value=1.0)


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
    """Rows of a table, picked by index: one column's (solved biases, factors) as a vector, several (negatives) as fields."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("table", "fields")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one table row an index: a vector for one index a batch row, fields for several.

        Raises:
            ContractError: The second input is no index, or the first one no table of numbers.
        """
        if not specs[1].index or specs[0].index or specs[0].neighbours:
            raise ContractError("lookup takes a table of numbers and the index of one column (a @fields source with index = true)")
        if specs[1].fields != 1:
            return TensorSpec("fields", specs[1].axis, fields=specs[1].fields, width=specs[0].width)
        return TensorSpec("vector", specs[1].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: table [R, D] and int64 [A, K] to [A, D] for K = 1, else [A, K, D]."""
        return _Lookup(specs[1].fields == 1)


class _Lookup(nn.Module):
    def __init__(self, single: bool) -> None:
        super().__init__()
        self.single = single

    def forward(self, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return rows_of(table, index[:, 0] if self.single else index)
