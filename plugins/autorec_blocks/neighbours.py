"""Item-item blocks: top neighbours by shrunken cosine, and catalogue scores from the neighbours of a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.counts import StoredTable
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Float, Int

__all__ = [
    "ItemSimilarity",
    "ItemWeights",
    "ItemWeightsConfig",
    "NeighbourScores",
    "Neighbours",
    "binary_matrix",
    "top_cells",
    "top_neighbours",
    "weight_spans",
]

_ROWS, _CELLS = 256, 4_000_000  # rows and non-zero cells of the item-item matrix held at a time
_SPAN = 512  # rows of a dense item-item matrix held at a time
_ITEM_BITS = 24  # of a sort key: 8 bits for the row in its block, 31 for the weight, 24 for the neighbour


def binary_matrix(history: Interactions) -> Any:
    """Return the user-by-item matrix as float32 CSR with ones (scipy), repeated pairs counted once; `history` stays as it is."""
    from scipy import sparse

    values = np.ones(len(history.items), dtype=np.float32)
    shape = (history.users, history.item_count)
    matrix = sparse.csr_matrix((values, history.items, history.offsets), shape=shape, copy=True)  # sum_duplicates sorts in place
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def top_neighbours(block: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int32 [r, count], float32 [r, count]): the entries of largest size in each row of float32 [r, N], by item row."""
    count = min(count, block.shape[1])
    rows = np.argpartition(-np.abs(block), count - 1, axis=1)[:, :count]
    rows = np.sort(rows, axis=1)
    return rows.astype(np.int32), np.take_along_axis(block, rows, 1).astype(np.float32)


def top_cells(row: np.ndarray, item: np.ndarray, weight: np.ndarray, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int32 [rows, count], float32 [rows, count]): the largest cells of each row, largest first, ties by item row.

    Rows with fewer cells end in item 0 with weight 0. One sort of packed integers orders rows, weights and items at once: the bits of
    positive floats are in the order of the floats.

    Args:
        row: int64 [n], below 256.
        item: int32 [n].
        weight: float32 [n], positive.
    """
    falling = np.int64(0x7FFFFFFF) - weight.astype(np.float32).view(np.int32)
    keys = np.sort((row.astype(np.int64) << (31 + _ITEM_BITS)) | (falling << _ITEM_BITS) | item)
    owner = keys >> (31 + _ITEM_BITS)
    place = np.arange(len(keys)) - np.searchsorted(owner, np.arange(rows))[owner]
    kept = place < count
    keys, owner, place = keys[kept], owner[kept], place[kept]
    ids, weights = np.zeros((rows, count), dtype=np.int32), np.zeros((rows, count), dtype=np.float32)
    ids[owner, place] = keys & ((1 << _ITEM_BITS) - 1)
    weights[owner, place] = (0x7FFFFFFF - ((keys >> _ITEM_BITS) & 0x7FFFFFFF)).astype(np.int32).view(np.float32)
    return ids, weights


class Neighbours(nn.Module):
    """A sparse item-item matrix: for each item the rows and weights of its neighbours."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.register_buffer("ids", torch.from_numpy(np.array(arrays["ids"], dtype=np.int32)))
        self.register_buffer("weights", torch.from_numpy(np.array(arrays["weights"], dtype=np.float32)))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (int32 [N, n], float32 [N, n])."""
        return self.ids, self.weights  # type: ignore[return-value]


class ItemWeightsConfig(ComponentConfig):
    """Options that every solved item-item matrix has."""

    rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
    megabytes: float = Field(48.0, gt=0, description="Room for the stored matrix.")


class ItemWeights(Block):
    """A solved item-item matrix: stored dense while it fits `megabytes`, else as the weights of largest size in each row."""

    Config: ClassVar[type[ItemWeightsConfig]] = ItemWeightsConfig
    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: ItemWeightsConfig

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return an item-by-item table, dense or as neighbours."""
        items = self.config.rows
        if self.dense(items):
            return TensorSpec("table", "item", width=items, rows=items)
        return TensorSpec("table", "item", width=self.kept(items), rows=items, neighbours=True)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the stored matrix."""
        return StoredTable(arrays["values"]) if "values" in arrays else Neighbours(arrays)

    def dense(self, items: int) -> bool:
        """Return whether the whole matrix is stored."""
        return items**2 * 4 <= self.config.megabytes * 1e6

    def kept(self, items: int) -> int:
        """Return how many weights a row has room for."""
        return max(1, min(items, int(self.config.megabytes * 1e6 / (8 * items))))

    def packed(self, rows: Callable[[int, int], np.ndarray], items: int) -> dict[str, np.ndarray]:
        """Return the arrays to store of the matrix whose rows float32 [stop - start, N] are `rows(start, stop)`."""
        if self.dense(items):
            return {"values": np.concatenate([rows(*span) for span in weight_spans(items)])}
        parts = [top_neighbours(rows(*span), self.kept(items)) for span in weight_spans(items)]
        return {"ids": np.concatenate([part[0] for part in parts]), "weights": np.concatenate([part[1] for part in parts])}


def weight_spans(count: int) -> list[tuple[int, int]]:
    """Return (start, stop) of blocks of rows."""
    return [(start, min(start + _SPAN, count)) for start in range(0, count, _SPAN)]


class ItemSimilarity(Block):
    """Cosine of the items' user sets, with `shrinkage` added to the denominator (Aiolli 2013; Deshpande and Karypis 2004)."""

    class Config(ComponentConfig):
        """Options."""

        rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
        neighbours: Annotated[int, Int(20, 400, log=True), Field(ge=1)] = Field(200, description="Neighbours kept for each item.")
        shrinkage: Annotated[float, Float(0.1, 200.0, log=True), Field(ge=0)] = Field(10.0, description="Added to the denominator.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a neighbour table."""
        rows = self.config.rows
        return TensorSpec("table", "item", width=min(self.config.neighbours, rows), rows=rows, neighbours=True)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Multiply block by block, on the cells that are not zero, and keep the largest cosines."""
        matrix = binary_matrix(arrays["interactions"])
        norms = np.sqrt(np.asarray(matrix.sum(0), dtype=np.float64).ravel())
        columns, count = matrix.tocsc(), min(self.config.neighbours, matrix.shape[1])
        parts = [self._block(columns, matrix, norms, span, count) for span in _spans(columns, matrix)]
        return {"ids": np.concatenate([part[0] for part in parts]), "weights": np.concatenate([part[1] for part in parts])}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the sparse product and of the sort; long histories weigh more than the mean tells, hence the factor."""
        pairs = 3.0 * schema.events**2 / max(1, schema.users)
        return 3e-9 * pairs + 2e-8 * min(pairs, schema.items**2)

    def _block(self, columns: Any, matrix: Any, norms: np.ndarray, span: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = span
        shared = (columns[:, start:stop].T @ matrix).tocsr()
        row = np.repeat(np.arange(stop - start), np.diff(shared.indptr))
        others = shared.indices != row + start
        row, item, together = row[others], shared.indices[others], shared.data[others]
        cosine = together / (norms[row + start] * norms[item] + self.config.shrinkage)
        return top_cells(row, item, cosine.astype(np.float32), stop - start, count)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the neighbour table."""
        return Neighbours(arrays)


def _spans(columns: Any, matrix: Any) -> list[tuple[int, int]]:
    """Cut the items into blocks whose rows of the item-item matrix have a bounded number of cells that are not zero."""
    items = matrix.shape[1]
    cells = np.minimum(columns.T @ np.diff(matrix.indptr).astype(np.float64), items)
    spans, start = [], 0
    while start < items:
        room = np.searchsorted(np.cumsum(cells[start : start + _ROWS]), _CELLS)
        stop = min(items, start + max(1, int(room)))
        spans.append((start, stop))
        start = stop
    return spans


class NeighbourScores(Block):
    """Scores of the whole catalogue: the item-item rows of a history, summed with weights that fade with every step back.

    The newest step weighs 1, the one before `decay`, then `decay`², …; with `decay` = 1 all steps weigh the same.
    """

    class Config(ComponentConfig):
        """Options."""

        decay: Annotated[float, Float(0.5, 1.0), Field(gt=0, le=1)] = Field(
            1.0, description="Weight of a step relative to the one after it."
        )

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
        found: torch.Tensor = chosen.scatter_add(1, history, weights) @ table
        return found

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
