"""EASE: the closed-form item-item model without self-loops (Steck 2019), solved on the smaller side of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from autorec_blocks.neighbours import ItemSimilarity, ItemWeights, ItemWeightsConfig, binary_matrix, top_neighbours, weight_spans
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Float

__all__ = ["Ease", "cosines", "frequent_items", "with_cosines"]

_FLOPS = 4e10  # of a blocked Cholesky inverse on one core, in multiply-adds a second
_COSINES = 400  # neighbours of an item that the closed form leaves out

Rows = Callable[[int, int], np.ndarray]  # (start, stop) -> float32 [stop - start, N] of the matrix P


class Ease(ItemWeights):
    """B = I - P · diag(1 / diag(P)) with P = (XᵀX + λI)⁻¹ (Steck 2019, equation 8).

    With fewer users than items, P = (I - Xᵀ(XXᵀ + λI)⁻¹X) / λ gives the same matrix from the smaller system (Woodbury identity).
    With `frequent` it is solved on the most frequent items only, and the others keep their cosine neighbours.
    Stored dense while it fits `megabytes`, else as the weights of largest size in each row.
    """

    class Config(ItemWeightsConfig):
        """Options."""

        regularisation: Annotated[float, Float(1.0, 3000.0, log=True), Field(gt=0)] = Field(200.0, description="Ridge penalty λ.")
        frequent: int = Field(0, ge=0, description="How many of the most frequent items it is solved on; 0 = all.")

    config: Config

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Solve the smaller system."""
        matrix = binary_matrix(arrays["interactions"])
        items = matrix.shape[1]
        chosen = frequent_items(matrix, self.config.frequent)
        rows, diagonal = self._precision(matrix[:, chosen].tocsr() if self.config.frequent else matrix)
        weights = partial(_weights, rows, diagonal)
        return with_cosines(self, weights, chosen, arrays) if self.config.frequent else self.packed(weights, items)

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the Cholesky inverse, of the selection, and of the cosines where some items keep those."""
        items = min(schema.items, self.config.frequent or schema.items)
        side = min(schema.users, items)
        rest = cosines(schema.items, self.kept(schema.items)).seconds(specs, schema) if self.config.frequent else 0.0
        rows = 2e-9 * schema.events * items if schema.users < items else 0.0  # the Woodbury identity pays for every row of P
        return side**3 / _FLOPS + 2e-8 * items**2 + 1e-9 * schema.events * side + rows + rest

    def dense(self, items: int) -> bool:
        """Return whether the whole matrix is stored: not where some items keep their cosines."""
        return not self.config.frequent and super().dense(items)

    def _precision(self, matrix: Any) -> tuple[Rows, np.ndarray]:
        users, items = matrix.shape
        penalty = self.config.regularisation
        if penalty < np.finfo(np.float32).tiny:
            raise ArithmeticError(f"a penalty of {penalty:g} is lost in float32: a larger one is needed")
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


def with_cosines(block: ItemWeights, rows: Rows, chosen: np.ndarray, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the neighbours of a whole catalogue, of which some items are solved and the others keep their cosine neighbours.

    Args:
        rows: (start, stop) -> float32 [stop - start, n], weights among the chosen items.
        chosen: int64 [n], item rows, ascending.
        arrays: With the interactions.
    """
    items = arrays["interactions"].item_count
    kept = block.kept(items)
    rest = cosines(items, kept).solve((), arrays, np.random.default_rng(0))  # draws nothing
    ids, weights = _widened(rest["ids"], kept), _widened(rest["weights"], kept)
    ids[chosen], weights[chosen] = 0, 0.0
    for start, stop in weight_spans(len(chosen)):
        near, near_weights = top_neighbours(rows(start, stop), kept)
        ids[chosen[start:stop], : near.shape[1]] = chosen[near]
        weights[chosen[start:stop], : near.shape[1]] = near_weights
    return {"ids": ids, "weights": weights}


def cosines(items: int, kept: int) -> ItemSimilarity:
    """Return the block that relates the items that a closed form leaves out."""
    return ItemSimilarity(ItemSimilarity.Config(rows=items, neighbours=min(kept, _COSINES)))


def frequent_items(matrix: Any, count: int) -> np.ndarray:
    """Return int64 [n], the `count` most frequent columns of a user-by-item matrix (0 = all), ascending."""
    if not count:
        return np.arange(matrix.shape[1])
    return np.sort(np.argsort(-np.asarray(matrix.sum(0)).ravel(), kind="stable")[:count])


def _widened(table: np.ndarray, width: int) -> np.ndarray:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _inverse(gram: np.ndarray, penalty: float) -> np.ndarray:
    from scipy.linalg import lapack

    system = np.asfortranarray(gram.T)  # symmetric: the transpose of a C array needs no copy
    system[np.diag_indices_from(system)] += penalty
    factor, solve = (lapack.dpotrf, lapack.dpotri) if system.dtype == np.float64 else (lapack.spotrf, lapack.spotri)
    lower, broken = factor(system, lower=1, overwrite_a=1)
    if broken:
        raise ArithmeticError(f"the item matrix is not positive definite with a penalty of {penalty:g}; a larger one is needed")
    inverse: np.ndarray = solve(lower, lower=1, overwrite_c=1)[0]
    for start, stop in weight_spans(len(inverse)):
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        corner = inverse[start:stop, start:stop]
        inverse[start:stop, start:stop] = np.tril(corner) + np.tril(corner, -1).T
    return inverse


def _weights(rows: Rows, diagonal: np.ndarray, start: int, stop: int) -> np.ndarray:
    weights: np.ndarray = -rows(start, stop) / diagonal[None, :]
    weights[np.arange(stop - start), np.arange(start, stop)] = 0.0
    return weights
