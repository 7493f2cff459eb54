"""Graph propagation: tables smoothed over the solved, normalised graph of the interactions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Int

__all__ = ["Propagate"]


class Propagate(Block):
    """The mean of A⁰E … AᴷE, where A = D^-½ [[0, R], [Rᵀ, 0]] D^-½ and E holds users above items (He et al. 2020, equations 3 and 8).

    A table of one side alone is smoothed over that side's graph: by A², from items to their users and back to items.
    A comes from the training events (each pair once) and is no parameter. It is symmetric, so the gradient takes the same product.
    """

    class Config(ComponentConfig):
        """Options."""

        layers: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Steps over the graph, K.")
        first: bool = Field(True, description="Whether the mean has the table itself, A⁰E, in it.")

    accepts: ClassVar[tuple[Port, ...]] = ("table",)
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table of the same shape.

        Raises:
            ContractError: The input is no table of numbers.
        """
        if specs[0].index or specs[0].neighbours:
            raise ContractError("propagate takes a table of numbers: the embeddings of users, and below them those of items")
        return TensorSpec("table", specs[0].axis, width=specs[0].width, rows=specs[0].rows)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Normalise the graph.

        Raises:
            ContractError: The table has not one row a user and an item (or an entity, for a table of one side).
        """
        history: Interactions = arrays["interactions"]
        nodes = {"user": history.users, "item": history.item_count, "row": history.users + history.item_count}
        if specs[0].rows != nodes[specs[0].axis]:
            raise ContractError(f"propagate takes a table of one side ({nodes}) or users stacked above items, got {specs[0].rows} rows")
        return _normalised(history)

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return about 300 ns an event."""
        return 3e-7 * schema.events

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [R, D] to [R, D]."""
        return _Propagate(self.config, specs[0].axis == "item", arrays)


def _normalised(history: Interactions) -> Mapping[str, np.ndarray]:
    from scipy.sparse import coo_array

    users = np.repeat(np.arange(history.users), np.diff(history.offsets))
    pairs = np.unique(users.astype(np.int64) * history.item_count + history.items)
    own, other = pairs // history.item_count, pairs % history.item_count + history.users
    rows, columns = np.concatenate([own, other]), np.concatenate([other, own])
    nodes = history.users + history.item_count
    weight = np.bincount(rows, minlength=nodes).clip(min=1) ** -0.5
    graph = coo_array((weight[rows] * weight[columns], (rows, columns)), (nodes, nodes)).tocsr()
    graph.sort_indices()
    return {
        "starts": graph.indptr.astype(np.int64),
        "columns": graph.indices.astype(np.int64),
        "weights": graph.data.astype(np.float32),
    }


class _Propagate(nn.Module):
    def __init__(self, config: Propagate.Config, below: bool, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.layers, self.own, self.below = config.layers, config.first, below
        for name in ("starts", "columns", "weights"):
            self.register_buffer(name, torch.from_numpy(np.array(arrays[name])))

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        graph = _csr(self.starts, self.columns, self.weights)  # type: ignore[arg-type]
        total, step = table if self.own else torch.zeros_like(table), table
        for _ in range(self.layers):
            step = self._step(graph, step)
            total = total + step
        return total / (self.layers + int(self.own))

    def _step(self, graph: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        nodes, rows = graph.shape[0], table.shape[0]
        if rows == nodes:
            return _Symmetric.apply(graph, table)  # type: ignore[no-untyped-call, no-any-return]
        first = nodes - rows if self.below else 0  # items lie below users
        placed = functional.pad(table, (0, 0, first, nodes - rows - first))
        twice = _Symmetric.apply(graph, _Symmetric.apply(graph, placed))  # type: ignore[no-untyped-call]
        return twice[first : first + rows]  # type: ignore[no-any-return]


def _csr(starts: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    nodes = starts.shape[0] - 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(starts, columns, weights, (nodes, nodes), check_invariants=False)


class _Symmetric(torch.autograd.Function):
    """A @ X for a symmetric sparse A, whose gradient with respect to X is A @ gradient."""

    @staticmethod
    def forward(ctx: Any, graph: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        ctx.graph = graph
        return graph @ table

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, ctx.graph @ gradients[0].contiguous()
