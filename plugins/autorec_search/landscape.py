"""Synthetic tables of architectures: random landscapes over a small space, on which strategies are compared and their defaults fixed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.space import Choice, Gene, Genotype, Int, SearchSpace, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CELLS", "Landscape"]

_OPERATIONS = ("attention", "conv", "gru", "lstm", "mlp", "pooling")

CELLS = SearchSpace(
    [
        Gene("layers", Int(1, 2), 1),
        Gene("first", Choice(_OPERATIONS), "mlp"),
        Gene("second", Choice(_OPERATIONS), "mlp", "layers", (2,)),
        Gene("connection", Choice("plain", "skip", "residual", "dense"), "plain", "layers", (2,)),
        Gene("width", Int(1, 4), 2),
        Gene("activation", Choice("relu", "gelu"), "relu"),
    ]
)  # 2 * 4 * (6 + 6 * 6 * 4) = 1,200 cells


class Landscape:
    """A value for every cell of a space: effects of the genes, of their pairs, and a rest of its own for every cell.

    Options have independent normal effects; an int's effect is a parabola with a random top, so that neighbours are alike. A gene
    that is not active counts as one more option. Each of the three parts is scaled to its share of the variance over the cells, and
    the whole to mean 0 and variance 1. The same seed gives the same landscape everywhere.

    Args:
        seed: Which landscape.
        space: Finite; every cell is listed.
        pairs: Share of the variance that pairs of genes have.
        rest: Share of the variance that no model explains.
    """

    def __init__(self, seed: int, space: SearchSpace = CELLS, pairs: float = 0.35, rest: float = 0.2) -> None:
        self.space = space
        self.cells = tuple(space.points())
        rng = np.random.default_rng(seed)
        codes = _codes(space, self.cells)
        singles = sum((_effect(space[name], row, rng) for name, row in codes.items()), start=np.zeros(len(self.cells)))
        mixed = np.zeros(len(self.cells))
        for (_, a), (_, b) in itertools.combinations(codes.items(), 2):
            mixed += rng.standard_normal((int(a.max()) + 1, int(b.max()) + 1))[a, b]
        alone = rng.standard_normal(len(self.cells))
        shares = ((singles, 1.0 - pairs - rest), (mixed, pairs), (alone, rest))
        values = _unit(sum((math.sqrt(share) * _unit(part) for part, share in shares), start=np.zeros(len(self.cells))))
        self._values: dict[Genotype, float] = dict(zip(self.cells, values.tolist(), strict=True))
        self.best = max(self._values.values())

    def __call__(self, genotype: Genotype) -> float:
        """Return the value of a cell, in standard deviations of all cells."""
        return self._values[genotype]

    def size(self, genotype: Genotype) -> float:
        """Return a cost of a cell that grows with its active genes and its ints: the second objective, to be made small."""
        return sum(1.0 + (float(value) if type(value) is int else 0.0) for value in genotype.values())


def _codes(space: SearchSpace, cells: tuple[Genotype, ...]) -> dict[str, NDArray[np.intp]]:
    """Return the place of every cell's value in its gene's domain, int [cells]; 0 where the gene is not active."""
    places: Mapping[str, dict[Value, int]] = {name: {v: i for i, v in enumerate(gene.domain.values(), 1)} for name, gene in space.items()}
    return {name: np.array([places[name][cell[name]] if name in cell else 0 for cell in cells]) for name in space}


def _effect(gene: Gene, codes: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the effect of one gene on every cell, float64 [cells]."""
    table: NDArray[np.float64] = rng.standard_normal(int(codes.max()) + 1)
    if isinstance(gene.domain, Int) and len(table) > 3:
        places = np.linspace(0.0, 1.0, len(table) - 1)
        table[1:] = _unit(-((places - rng.random()) ** 2))
    return np.take(table, codes)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0 else centred
