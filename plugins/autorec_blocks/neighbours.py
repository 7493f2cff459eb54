"""Item-item blocks: top neighbours by shrunken cosine, and catalogue scores from the neighbours of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from autorec_blocks.base import Block
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Float, Int

__all__ = ["ItemSimilarity", "NeighbourScores", "Neighbours", "binary_matrix", "top_neighbours"]

_BLOCK = 512  # rows of a dense item-item matrix held at a time


def binary_matrix(history: Interactions) -> Any:
    """Return the user-by-item matrix as float32 CSR with ones (scipy), repeated pairs counted once."""
    from scipy import sparse

    values = np.ones(len(history.items), dtype=np.float32)
    matrix = sparse.csr_matrix((values, history.items, history.offsets), shape=(history.users, history.item_count))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def top_neighbours(block: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int32 [r, count], float32 [r, count]): the entries of largest size in each row of float32 [r, N], by item row."""
    count = min(count, block.shape[1])
    rows = np.argpartition(-np.abs(block), count - 1, axis=1)[:, :count]
    rows = np.sort(rows, axis=1)
    return rows.astype(np.int32), np.take_along_axis(block, rows, 1).astype(np.float32)


class Neighbours(nn.Module):
    """A sparse item-item matrix: for each item the rows and weights of its neighbours."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.register_buffer("ids", torch.from_numpy(np.array(arrays["ids"], dtype=np.int32)))
        self.register_buffer("weights", torch.from_numpy(np.array(arrays["weights"], dtype=np.float32)))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (int32 [N, n], float32 [N, n])."""
        return self.ids, self.weights  # type: ignore[return-value]


class ItemSimilarity(Block):
    """Cosine of the items' user sets, with `shrinkage` added to the denominator (Aiolli 2013; Deshpande and Karypis 2004)."""

    class Config(ComponentConfig):
        """Options."""

        rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
        neighbours: Annotated[int, Int(20, 400, log=True)] = Field(200, description="Neighbours kept for each item.")
        shrinkage: Annotated[float, Float(0.1, 200.0, log=True)] = Field(10.0, description="Added to the denominator.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a neighbour table."""
        rows = self.config.rows
        return TensorSpec("table", "item", width=min(self.config.neighbours, rows), rows=rows, neighbours=True)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Compute the cosines block by block and keep the largest."""
        matrix = binary_matrix(arrays["interactions"])
        norms = np.sqrt(np.asarray(matrix.sum(0)).ravel())
        columns, parts = matrix.tocsc(), []
        for start in range(0, matrix.shape[1], _BLOCK):
            stop = min(start + _BLOCK, matrix.shape[1])
            shared = (columns[:, start:stop].T @ matrix).toarray().astype(np.float32)
            cosine = shared / (norms[start:stop, None] * norms[None, :] + self.config.shrinkage)
            cosine[np.arange(stop - start), np.arange(start, stop)] = 0.0
            parts.append(top_neighbours(cosine.astype(np.float32), self.config.neighbours))
        return {"ids": np.concatenate([part[0] for part in parts]), "weights": np.concatenate([part[1] for part in parts])}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the sparse product and of the selection."""
        per_user = schema.events / max(1, schema.users)
        return 4e-9 * schema.events * per_user * 2 + 2e-8 * schema.items**2

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the neighbour table."""
        return Neighbours(arrays)


class NeighbourScores(Block):
    """Scores of the whole catalogue: the item-item rows of a history, summed with weights that fade with every step back.

    The newest step weighs 1, the one before `decay`, then `decay`², …; with `decay` = 1 all steps weigh the same.
    """

    class Config(ComponentConfig):
        """Options."""

        decay: Annotated[float, Float(0.5, 1.0)] = Field(1.0, description="Weight of a step relative to the one after it.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return catalogue scores.

        Raises:
            ContractError: The history does not come as item rows (`index = true`), or the table is not item by item.
        """
        if not specs[0].index:
            raise ContractError("neighbour scores read a history of item rows: give its @history source index = true")
        if not specs[1].neighbours and specs[1].width != specs[1].rows:
            raise ContractError(f"neighbour scores need an item-by-item table, got {specs[1].rows} x {specs[1].width}")
        return TensorSpec("scores", specs[0].axis, rows=specs[1].rows, link="value")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, L] with its mask and a table to float32 [A, N]."""
        return _NeighbourScores(self.config.decay, specs[1].rows)


class _NeighbourScores(nn.Module):
    def __init__(self, decay: float, items: int) -> None:
        super().__init__()
        self.decay, self.items = decay, items

    def forward(self, value: tuple[torch.Tensor, torch.Tensor], table: Any) -> torch.Tensor:
        history, mask = value
        weights = self._weights(mask)
        if isinstance(table, tuple):
            return self._spread(history, weights, *table)
        chosen = torch.zeros(history.shape[0], self.items, dtype=weights.dtype, device=weights.device)
        return chosen.scatter_add(1, history, weights) @ table

    def _weights(self, mask: torch.Tensor) -> torch.Tensor:
        real = mask.to(torch.float32)
        if self.decay == 1.0:
            return real
        age = real.sum(1, keepdim=True) - real.cumsum(1)
        return torch.exp(age * float(np.log(self.decay))) * real

    def _spread(self, history: torch.Tensor, weights: torch.Tensor, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        index = ids[history].to(torch.int64).flatten(1)
        spread = (nn.functional.embedding(history, values) * weights.unsqueeze(-1)).flatten(1)
        scores = torch.zeros(history.shape[0], self.items, dtype=values.dtype, device=values.device)
        return scores.scatter_add(1, index, spread)
