"""SLIM: sparse item-item weights that are not negative (Ning and Karypis 2011), by coordinate descent on the Gram matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from autorec_blocks.ease import cosines, frequent_items, with_cosines
from autorec_blocks.neighbours import ItemWeights, ItemWeightsConfig, binary_matrix
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Float

__all__ = ["Slim"]

_COLUMNS, _GROUP = 1024, 64  # targets solved together; coordinates whose residual is brought up to date by one product
_FLOPS = 3e10  # multiply-adds a second of the products and the sweeps inside a group


class Slim(ItemWeights):
    """W minimises ½‖A - AW‖² + (β / 2)‖W‖² + λ‖W‖₁ with W ≥ 0 and diag(W) = 0 (Ning and Karypis 2011, equation 3).

    Cyclic coordinate descent (Friedman et al. 2010) on G = AᵀA, for many columns at once:
    w[i, j] ← max(0, G[i, j] - Σ_{k≠i} G[i, k] w[k, j] - λ) / (G[i, i] + β). The residuals of a group of coordinates come from one
    matrix product, and inside the group each step corrects the ones after it, so that the order of the steps is the textbook's.
    """

    class Config(ItemWeightsConfig):
        """Options."""

        l1: Annotated[float, Float(0.1, 50.0, log=True), Field(ge=0)] = Field(
            3.0, description="Penalty λ on the size of a weight: sparsity."
        )
        l2: Annotated[float, Float(1.0, 1000.0, log=True), Field(gt=0)] = Field(50.0, description="Ridge penalty β.")
        sweeps: int = Field(10, ge=1, description="Passes over all coordinates at most.")
        tolerance: float = Field(1e-3, gt=0, description="Largest change of a weight in a pass after which a column is done.")
        frequent: int = Field(0, ge=0, description="How many of the most frequent items it is solved on; 0 = all.")

    config: Config

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Descend block by block of target items."""
        matrix = binary_matrix(arrays["interactions"])
        chosen = frequent_items(matrix, self.config.frequent)
        columns = matrix[:, chosen] if self.config.frequent else matrix
        gram = (columns.T @ columns).toarray()
        weights = np.empty_like(gram)
        for start in range(0, len(gram), _COLUMNS):
            weights[:, start : start + _COLUMNS] = self._descend(gram, np.arange(start, min(start + _COLUMNS, len(gram))))
        if self.config.frequent:
            return with_cosines(self, lambda start, stop: weights[start:stop], chosen, arrays)
        return self.packed(lambda start, stop: weights[start:stop], matrix.shape[1])

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the sweeps and, where some items keep them, of the cosines."""
        side = min(schema.items, self.config.frequent or schema.items)
        rest = cosines(schema.items, self.kept(schema.items)).seconds(specs, schema) if self.config.frequent else 0.0
        return self.config.sweeps * side**3 / _FLOPS + 3e-9 * schema.events**2 / max(1, schema.users) + rest

    def dense(self, items: int) -> bool:
        """Return whether the whole matrix is stored: not where some items keep their cosines."""
        return not self.config.frequent and super().dense(items)

    def _descend(self, gram: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return float32 [N, n], the columns `targets` of W."""
        found = np.zeros((len(gram), len(targets)), np.float32)
        active = np.arange(len(targets))
        for _ in range(self.config.sweeps):
            weights = np.ascontiguousarray(found[:, active])
            moved = np.zeros(len(active), np.float32)
            for start in range(0, len(gram), _GROUP):
                np.maximum(moved, self._group(gram, weights, targets[active], start), out=moved)
            found[:, active] = weights
            active = active[moved > self.config.tolerance]
            if not len(active):
                break
        return found

    def _group(self, gram: np.ndarray, weights: np.ndarray, targets: np.ndarray, start: int) -> np.ndarray:
        """Visit the coordinates of one group, in place; return float32 [n], the largest change in each column."""
        rows = slice(start, min(start + _GROUP, len(gram)))
        corner, moved = gram[rows, rows], np.zeros(weights.shape[1], np.float32)
        residual = gram[rows][:, targets] - gram[rows] @ weights
        for place, own in enumerate(weights[rows]):
            free = np.maximum(residual[place] + corner[place, place] * own - np.float32(self.config.l1), 0.0)
            free /= np.float32(corner[place, place] + self.config.l2)
            free[targets == start + place] = 0.0
            change = free - own
            residual[place + 1 :] -= corner[place + 1 :, place, None] * change
            own += change  # a view of the row
            np.maximum(moved, np.abs(change), out=moved)
        return moved
