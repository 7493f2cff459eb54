"""Blocks whose value is a table, one row an entity, and those that read one: free tables, stacks, slices, joins, rows and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Activation, Block, activation
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Axis, Port, TensorSpec

__all__ = ["FreeTable", "JoinTables", "StackTables", "TableRow", "TableRows", "TableScores", "rows_of"]


def rows_of(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return [..., D], the rows int64 [...] of a table [R, D]; on a processor by the lookup whose gradient is four times cheaper."""
    if not table.requires_grad or table.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.embedding(index, table)
    return table.index_select(0, index.reshape(-1)).view(*index.shape, table.shape[1])


class FreeTable(Block):
    """A trained table of its own, apart from the embeddings; row 0 (unknown) is the mean of all other rows, in training and after."""

    class Config(ComponentConfig):
        """Options."""

        side: Literal["user", "item"] = Field("item", description="What a row stands for.")
        rows: int = Field(2, ge=2, description="Rows of that side, row 0 = unknown included.")
        width: int = Field(64, ge=1, description="Columns.")
        initial_scale: float = Field(0.05, ge=0, description="Standard deviation of the first weights; 0 starts from zeros.")

    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table [rows, width]."""
        axis: Axis = self.config.side
        return TensorSpec("table", axis, width=self.config.width, rows=self.config.rows)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: nothing to float32 [rows, width]."""
        return _FreeTable(self.config.rows, self.config.width, self.config.initial_scale)


class _FreeTable(nn.Module):
    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows - 1, width).normal_(0.0, scale))

    def forward(self) -> torch.Tensor:
        return torch.cat([self.weight.mean(0, keepdim=True), self.weight])


class _Tables(Block, ABC):
    """Several tables of numbers."""

    accepts: ClassVar[tuple[Port, ...]] = ("table",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return the table.

        Raises:
            ContractError: An input holds row indices or neighbours, or the shapes do not fit.
        """
        if any(spec.index or spec.neighbours for spec in specs):
            raise ContractError("tables of row indices or neighbours cannot be put together; tables of numbers can")
        return self._together(specs)

    @abstractmethod
    def _together(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return the table that they become."""

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: tables to one table."""
        return _Cat(0 if isinstance(self, StackTables) else 1)


class StackTables(_Tables):
    """Tables one above the other: the nodes of a graph over users and items."""

    class Config(ComponentConfig):
        """No options."""

    def _together(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        if len({spec.width for spec in specs}) != 1:
            raise ContractError(f"stacked tables must have one width, got {[spec.width for spec in specs]}")
        return TensorSpec("table", "row", width=specs[0].width, rows=sum(spec.rows for spec in specs))


class JoinTables(_Tables):
    """Tables side by side: factors and a bias, or several descriptions of the same rows."""

    class Config(ComponentConfig):
        """No options."""

    def _together(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        if len({spec.rows for spec in specs}) != 1:
            raise ContractError(f"joined tables must have the same rows, got {[spec.rows for spec in specs]}")
        return TensorSpec("table", specs[0].axis, width=sum(spec.width for spec in specs), rows=specs[0].rows)


class _Cat(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tables: torch.Tensor) -> torch.Tensor:
        return torch.cat(tables, self.dim)


class TableRows(Block):
    """A range of rows of a table: the users or the items of a stacked one."""

    class Config(ComponentConfig):
        """Options."""

        side: Literal["user", "item"] = Field("item", description="What a row of the part stands for.")
        first: int = Field(0, ge=0, description="Where the part begins; 0 = with row 0.")
        count: int = Field(0, ge=0, description="How many rows it has; 0 = all that follow.")

    accepts: ClassVar[tuple[Port, ...]] = ("table",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table with fewer rows.

        Raises:
            ContractError: The part reaches beyond the table, or the table holds no numbers.
        """
        rows, axis = self._count(specs[0].rows), self.config.side
        if specs[0].index or specs[0].neighbours or rows < 1 or self.config.first + rows > specs[0].rows:
            raise ContractError(f"rows {self.config.first} to {self.config.first + rows} of a table of {specs[0].rows} rows do not exist")
        return TensorSpec("table", axis, width=specs[0].width, rows=rows)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [R, D] to [count, D]."""
        return _TableRows(self.config.first, self._count(specs[0].rows))

    def _count(self, rows: int) -> int:
        return self.config.count or rows - self.config.first


class _TableRows(nn.Module):
    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self.first, self.count = first, count

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        return table[self.first : self.first + self.count]


class TableRow(Block):
    """The table row of one index a batch row (`@target`, `@candidate`); an index of fields goes to `lookup`."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("table", "vector")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one table row a batch row.

        Raises:
            ContractError: The second input is no row index, or the first one no table of numbers.
        """
        if not specs[1].index or specs[0].index or specs[0].neighbours:
            raise ContractError("table-row takes a table of numbers and one row index a batch row (@target or @candidate without width)")
        return TensorSpec("vector", specs[1].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: table [R, D] and int64 [A] to [A, D]."""
        return _TableRow()


class _TableRow(nn.Module):
    def forward(self, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return rows_of(table, index)


class TableScores(Block):
    """One score for every row of a table: shift + scale · f(W x), W the table; `append-one` and a joined table make it f(W x + b).

    It is the output layer of an autoencoder (Sedhain et al. 2015, equation 2; Liang et al. 2018, section 2.1).
    """

    class Config(ComponentConfig):
        """Options."""

        activation: Activation = Field("identity", description="The function f.")
        scale: float = Field(1.0, description="Factor of its value.")
        shift: float = Field(0.0, description="Added after that; 4 and 1 bring a sigmoid to ratings from 1 to 5.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return catalogue scores [A, R].

        Raises:
            ContractError: The vector is not as wide as the table, or an input holds no numbers.
        """
        vector, table = specs
        if vector.index or table.index or table.neighbours:
            raise ContractError("table-scores multiplies numbers, and an input holds row indices or neighbours")
        if vector.width != table.width:
            raise ContractError(f"table-scores takes a vector as wide as the table, got {vector.width} and {table.rows} x {table.width}")
        return TensorSpec("scores", vector.axis, width=table.rows, rows=table.rows, link="value")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, D], [R, D] to [A, R]."""
        return _TableScores(self.config, specs[1].rows)


class _TableScores(nn.Module):
    def __init__(self, config: TableScores.Config, rows: int) -> None:
        super().__init__()
        self.activation = activation(config.activation, rows)
        self.scale, self.shift = config.scale, config.shift

    def forward(self, vectors: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.activation(vectors @ table.T)
        return self.shift + self.scale * scores
