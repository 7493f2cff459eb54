"""How complex a genotype is among its own kind, from the space alone."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import cast

import numpy as np

from autorec_kernel.space import Bool, Choice, Floats, Gene, Genotype, Int, Ints, SearchSpace, Value

__all__ = ["Ladder", "complexity"]

_DRAWS = 256  # points of a family that say where its quantiles lie


def complexity(space: SearchSpace, genotype: Mapping[str, Value]) -> float:
    """Return how much of what can grow has grown.

    A gene woken by a switch or an int (a further layer, a part that is on) counts 1; a switch that is on counts 1; an int adds its
    position in [0, 1] on its domain's scale; a list adds its length beyond the shortest and its ints' positions over the longest.
    Options have no order and floats are settings, not sizes: neither adds anything.
    """
    return sum((_size(space[name], value) + _woken(space, space[name]) for name, value in genotype.items()), start=0.0)


def _woken(space: SearchSpace, gene: Gene) -> float:
    return 1.0 if gene.parent is not None and isinstance(space[gene.parent].domain, (Bool, Int)) else 0.0


def _size(gene: Gene, value: Value) -> float:
    domain = gene.domain
    if isinstance(domain, Int):
        return domain.unit(cast(int, value))
    if isinstance(domain, (Ints, Floats)):
        items = cast("tuple[float, ...]", value)
        grown = float(len(items) - domain.length.low)
        return grown + (sum(domain.item.unit(int(item)) for item in items) / domain.length.high if isinstance(domain, Ints) else 0.0)
    return float(cast(bool, value)) if isinstance(domain, Bool) else 0.0


class Ladder:
    """Places genotypes among 256 draws of their family: the points with the same options for genes that wake others.

    Blueprints have different numbers of options, so complexities are compared within a blueprint only. The draws come from a
    generator that the digest of the space seeds, so a place is a function of space and genotype.

    Args:
        space: Where the genotypes live.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._families: dict[Genotype, list[float]] = {}

    def place(self, genotype: Genotype) -> float:
        """Return the share of the family that is simpler, in [0, 1): 0 for the simplest."""
        known = self._known(genotype)
        return bisect.bisect_left(known, complexity(self._space, genotype)) / (len(known) + 1)

    def _known(self, genotype: Genotype) -> list[float]:
        chosen = {name: value for name, value in genotype.items() if self._splits(name)}
        family = Genotype(chosen)
        if family not in self._families:
            rng = np.random.default_rng([int(self._space.digest, 16), int(family.digest, 16)])
            among = self._space.fix(chosen)
            self._families[family] = sorted(complexity(self._space, among.sample(rng)) for _ in range(_DRAWS))
        return self._families[family]

    def _splits(self, name: str) -> bool:
        return isinstance(self._space[name].domain, Choice) and bool(self._space.children(name))
