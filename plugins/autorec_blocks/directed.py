"""The directed closed form: which item follows, by ridge regression on a history that fades step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from autorec_blocks.neighbours import ItemWeights, ItemWeightsConfig, top_cells, top_neighbours, weight_spans
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Choice, Float

__all__ = ["DECAYS", "DirectedWeights", "pair_cells"]

DECAYS = Choice(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)
_FLOPS = 4e10  # of a blocked Cholesky solution on one core, in multiply-adds a second
_CELLS = 2_000_000  # (event, step) cells held at a time
_EVENT_ROWS = 256  # source items held at a time

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]  # source int64 [n], item that came later int64 [n], weight float64 [n]


class DirectedWeights(ItemWeights):
    """B = (C + Cᵀ + D + λI)⁻¹ (C + ηCᵀ), where C[i, j] sums decay^(steps between) over all pairs of i and a later j of one user.

    With η (`backward`) = 0 it is a ridge regression. Let x_t = Σ_{s<t} δ^(t-s) e(i_s) be a user's faded history before step t, and
    y_t = e(i_t) what followed; after the last event the history goes on fading and nothing follows. Then Σ x_t y_tᵀ = C, and two
    events at steps s ≤ s' meet in Σ_t x_t x_tᵀ with Σ_{t>s'} δ^(t-s) δ^(t-s') = δ^(s'-s) δ² / (1 - δ²), so that the Gram matrix
    is δ² / (1 - δ²) · (C + Cᵀ + D), D the diagonal of the number of events of each item. A constant factor leaves rankings alone.
    η > 0 lets pairs count backwards too, which helps where there are few events an item (EASE, Steck 2019, has no direction at all).

    Pairs further apart than the steps after which the weights no longer matter are left out: the sum left out is small enough for
    the system to stay positive definite. With `frequent`, the system has the most frequent items only; a pair with any other item
    gets what the regression on that one item says, (C + ηCᵀ)[i, j] / (2C[i, i] + D[i] + λ).
    """

    class Config(ItemWeightsConfig):
        """Options."""

        regularisation: Annotated[float, Float(1.0, 1000.0, log=True), Field(gt=0)] = Field(50.0, description="Ridge penalty λ.")
        decay: Annotated[float, DECAYS] = Field(0.8, gt=0, lt=1, description="Weight of a pair relative to one a step nearer, δ.")
        backward: Annotated[float, Float(0.0, 1.0), Field(ge=0)] = Field(0.2, description="Weight of a pair against its direction, η.")
        frequent: int = Field(0, ge=0, description="How many of the most frequent items it is solved on; 0 = all.")

    config: Config

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Count the pairs, solve the system of the frequent items, relate the others one by one."""
        history: Interactions = arrays["interactions"]
        counts = np.bincount(history.items, minlength=history.item_count)
        chosen = self._chosen(counts)
        together, rest = _split_pairs(history, self.config.decay, chosen)
        penalty, backward = self.config.regularisation, self.config.backward
        weights = _solved(together, counts[chosen] + penalty, backward)
        if len(chosen) == len(counts):
            return self.packed(lambda start, stop: weights[start:stop], len(counts))
        diagonal = rest.diagonal()
        diagonal[chosen] = together.diagonal()
        single = (rest + backward * rest.T).multiply(1.0 / (2 * diagonal + counts + penalty)[:, None]).tocsr()
        return self._joined(weights, chosen, single)

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the pairs, of the Cholesky solution and of the selection."""
        side = min(schema.items, self.config.frequent or schema.items)
        steps = min(_reach(self.config.decay), 2.0 * schema.events / max(1, schema.users))
        return 3e-8 * schema.events * steps + 1.2 * side**3 / _FLOPS + 2e-8 * side**2 + 1e-5 * (schema.items - side)

    def dense(self, items: int) -> bool:
        """Return whether the whole matrix is stored: not where some items are related one by one."""
        return not 0 < self.config.frequent < items and super().dense(items)

    def _chosen(self, counts: np.ndarray) -> np.ndarray:
        if not 0 < self.config.frequent < len(counts):
            return np.arange(len(counts))
        return np.sort(np.argsort(-counts, kind="stable")[: self.config.frequent])

    def _joined(self, weights: np.ndarray, chosen: np.ndarray, single: Any) -> dict[str, np.ndarray]:
        """Keep the largest weights of each row, of those solved together and of those of single items."""
        items, kept = single.shape[0], self.kept(single.shape[0])
        ids, values = np.zeros((items, kept), np.int32), np.zeros((items, kept), np.float32)
        for start in range(0, items, _EVENT_ROWS):
            block = single[start : start + _EVENT_ROWS]
            row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
            near, near_weights = top_cells(row, block.indices, block.data, block.shape[0], kept)
            ids[start : start + _EVENT_ROWS], values[start : start + _EVENT_ROWS] = near, near_weights
        for start, stop in weight_spans(len(chosen)):
            rows = chosen[start:stop]
            near, near_weights = top_neighbours(weights[start:stop], kept)
            both, sizes = np.concatenate([chosen[near], ids[rows]], 1), np.concatenate([near_weights, values[rows]], 1)
            best = np.argsort(-np.abs(sizes), axis=1, kind="stable")[:, :kept]
            ids[rows], values[rows] = np.take_along_axis(both, best, 1), np.take_along_axis(sizes, best, 1)
        return {"ids": ids, "weights": values}


def pair_cells(history: Interactions, decay: float) -> Iterator[Cells]:
    """Yield every (item, later item of the same user, decay^(steps between)) in order of the first item, a block at a time."""
    lengths = np.diff(history.offsets)
    window = min(_reach(decay), int(lengths.max(initial=1)) - 1)
    if window < 1:
        return
    items, ends = history.items.astype(np.int64), np.repeat(history.offsets[1:], lengths)
    order = np.argsort(items, kind="stable")
    steps = np.arange(1, window + 1)
    fading = decay**steps
    for part in _blocks(items[order], max(1, _CELLS // window)):
        place = order[part]
        later = place[:, None] + steps
        inside = later < ends[place][:, None]
        source = np.broadcast_to(items[place][:, None], later.shape)[inside]
        yield source, items[later[inside]], np.broadcast_to(fading, later.shape)[inside]


def _reach(decay: float) -> int:
    """Return after how many steps a pair is left out: 2 Σ_{k>K} δ^k <= (1 - δ) / (1 + δ), the smallest the spectrum of δ^|k| gets."""
    return int(np.ceil(np.log(min(1e-3, (1 - decay) ** 2 / 4)) / np.log(decay)))


def _blocks(ascending: np.ndarray, most: int) -> Iterator[slice]:
    """Cut sorted item rows into blocks of at most `most` events and of few items."""
    start = 0
    while start < len(ascending):
        stop = min(start + most, int(np.searchsorted(ascending, ascending[start] + _EVENT_ROWS)))
        yield slice(start, stop)
        start = stop


def _split_pairs(history: Interactions, decay: float, chosen: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return C of the chosen items, float32 [n, n], and the rest of C as a sparse matrix [N, N]."""
    from scipy import sparse

    items, size = history.item_count, len(chosen)
    place = np.full(items, -1)
    place[chosen] = np.arange(size)
    none = np.zeros(0, np.int64)
    nothing = sparse.csr_matrix((none.astype(np.float32), (none, none)), shape=(items, items))
    together, rest = np.zeros((size, size), np.float32), [nothing]
    for source, later, weight in pair_cells(history, decay):
        first, second = place[source], place[later]
        both = (first >= 0) & (second >= 0)
        if both.any():
            low, high = int(first[both].min()), int(first[both].max()) + 1
            sums = np.bincount((first[both] - low) * size + second[both], weights=weight[both], minlength=(high - low) * size)
            together[low:high] += sums.reshape(high - low, size)
        if not both.all():
            rest.append(sparse.csr_matrix((weight[~both].astype(np.float32), (source[~both], later[~both])), shape=(items, items)))
    return together, sum(rest[1:], rest[0])


def _solved(together: np.ndarray, diagonal: np.ndarray, backward: float) -> np.ndarray:
    """Return (C + Cᵀ + diag)⁻¹ (C + ηCᵀ), float32 [n, n], by a Cholesky factorisation in place.

    Raises:
        ArithmeticError: The system is not positive definite.
    """
    from scipy.linalg import lapack

    system, wanted = (np.empty(together.shape, np.float32, order="F") for _ in range(2))
    for start, stop in weight_spans(len(together)):
        system[:, start:stop] = together[:, start:stop] + together[start:stop].T
        wanted[:, start:stop] = together[:, start:stop] + backward * together[start:stop].T
    system[np.diag_indices_from(system)] += diagonal.astype(np.float32)
    factor, broken = lapack.spotrf(system, lower=1, overwrite_a=1)
    if broken:
        raise ArithmeticError("the system of pairs is not positive definite; a larger penalty is needed")
    weights, _ = lapack.spotrs(factor, wanted, lower=1, overwrite_b=1)
    return np.asarray(weights)
