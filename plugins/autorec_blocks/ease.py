"""EASE: the closed-form item-item model without self-loops (Steck 2019), solved on the smaller side of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from autorec_blocks.base import Block
from autorec_blocks.counts import StoredTable
from autorec_blocks.neighbours import ItemSimilarity, Neighbours, binary_matrix, top_neighbours
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Float

__all__ = ["Ease"]

_BLOCK = 512  # rows of the item-item matrix held at a time
_FLOPS = 4e10  # of a blocked Cholesky inverse on one core, in multiply-adds a second
_MEMORY_ITEMS = 20_000  # items solved exactly at most: 1.6 GB in float32

Rows = Callable[[int, int], np.ndarray]  # (start, stop) -> float32 [stop - start, N] of the matrix P


class Ease(Block):
    """B = I - P · diag(1 / diag(P)) with P = (XᵀX + λI)⁻¹ (Steck 2019, equation 8).

    With fewer users than items, P = (I - Xᵀ(XXᵀ + λI)⁻¹X) / λ gives the same matrix from the smaller system (Woodbury identity).
    Above `max_items` items on both sides, it is solved on the most frequent items and the rest keep their cosine neighbours.
    Stored dense while it fits `megabytes`, else as the weights of largest size in each row.
    """

    class Config(ComponentConfig):
        """Options."""

        rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
        regularisation: Annotated[float, Float(1.0, 3000.0, log=True)] = Field(200.0, description="Ridge penalty λ.")
        megabytes: float = Field(48.0, gt=0, description="Room for the stored matrix.")
        max_items: int = Field(_MEMORY_ITEMS, ge=2, description="Larger systems are solved on the most frequent items.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return an item-by-item table, dense or as neighbours."""
        items = self.config.rows
        if self._dense(items):
            return TensorSpec("table", "item", width=items, rows=items)
        return TensorSpec("table", "item", width=self._kept(items), rows=items, neighbours=True)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Solve the smaller system."""
        matrix = binary_matrix(arrays["interactions"])
        users, items = matrix.shape
        if min(users, items) > self.config.max_items:
            return self._frequent(matrix, specs, arrays, rng)
        rows, diagonal = self._precision(matrix)
        if self._dense(items):
            return {"values": np.concatenate([_weights(rows, diagonal, *span) for span in _spans(items)])}
        parts = [top_neighbours(_weights(rows, diagonal, *span), self._kept(items)) for span in _spans(items)]
        return {"ids": np.concatenate([part[0] for part in parts]), "weights": np.concatenate([part[1] for part in parts])}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the Cholesky inverse and of the selection."""
        side = min(schema.users, schema.items, self.config.max_items)
        return side**3 / _FLOPS + 2e-8 * schema.items**2 + 1e-9 * schema.events * min(schema.users, schema.items)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the stored matrix."""
        return StoredTable(arrays["values"]) if "values" in arrays else Neighbours(arrays)

    def _dense(self, items: int) -> bool:
        return items**2 * 4 <= self.config.megabytes * 1e6

    def _kept(self, items: int) -> int:
        return max(1, min(items, int(self.config.megabytes * 1e6 / (8 * items))))

    def _precision(self, matrix: Any) -> tuple[Rows, np.ndarray]:
        users, items = matrix.shape
        penalty = self.config.regularisation
        if items <= users:
            inverse = _inverse((matrix.T @ matrix).toarray(), penalty)
            return lambda start, stop: inverse[start:stop], inverse.diagonal().copy()
        half = _inverse((matrix @ matrix.T).toarray().astype(np.float64), penalty).astype(np.float32) @ matrix  # [U, N]
        columns = matrix.tocsc()
        diagonal = (1.0 - np.asarray(columns.multiply(half).sum(0)).ravel()) / penalty

        def rows(start: int, stop: int) -> np.ndarray:
            block = -(columns[:, start:stop].T @ half) / penalty
            block[np.arange(stop - start), np.arange(start, stop)] += 1.0 / penalty
            return np.asarray(block, dtype=np.float32)

        return rows, diagonal.astype(np.float32)

    def _frequent(
        self, matrix: Any, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator
    ) -> Mapping[str, np.ndarray]:
        counts = np.asarray(matrix.sum(0)).ravel()
        chosen = np.sort(np.argsort(-counts, kind="stable")[: self.config.max_items])
        kept = self._kept(matrix.shape[1])
        similar = ItemSimilarity(ItemSimilarity.Config(rows=matrix.shape[1], neighbours=min(kept, 400)))
        rest = similar.solve(specs, arrays, rng)
        ids = np.zeros((matrix.shape[1], kept), dtype=np.int32)
        weights = np.zeros((matrix.shape[1], kept), dtype=np.float32)
        width = rest["ids"].shape[1]
        ids[:, :width], weights[:, :width] = rest["ids"], rest["weights"]
        rows, diagonal = self._precision(matrix[:, chosen].tocsr())
        for start, stop in _spans(len(chosen)):
            near, near_weights = top_neighbours(_weights(rows, diagonal, start, stop), kept)
            ids[chosen[start:stop], : near.shape[1]] = chosen[near]
            weights[chosen[start:stop], : near.shape[1]] = near_weights
        return {"ids": ids, "weights": weights}


def _inverse(gram: np.ndarray, penalty: float) -> np.ndarray:
    from scipy.linalg import lapack

    system = np.asfortranarray(gram)
    system[np.diag_indices_from(system)] += penalty
    factor, solve = (lapack.dpotrf, lapack.dpotri) if system.dtype == np.float64 else (lapack.spotrf, lapack.spotri)
    lower, broken = factor(system, lower=1, overwrite_a=1)
    if broken:
        raise ArithmeticError(f"the item matrix is not positive definite with a penalty of {penalty:g}; a larger one is needed")
    inverse, _ = solve(lower, lower=1, overwrite_c=1)
    for start, stop in _spans(len(inverse)):
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        corner = inverse[start:stop, start:stop]
        inverse[start:stop, start:stop] = np.tril(corner) + np.tril(corner, -1).T
    return inverse


def _weights(rows: Rows, diagonal: np.ndarray, start: int, stop: int) -> np.ndarray:
    weights = -rows(start, stop) / diagonal[None, :]
    weights[np.arange(stop - start), np.arange(start, stop)] = 0.0
    return weights


def _spans(count: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
