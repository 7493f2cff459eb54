"""Problems with a known answer for search strategies: a planted point, stacked layers, and the area that a front dominates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autorec_kernel.space import Choice, Gene, Genotype, Int, SearchSpace

__all__ = ["CORNER", "planted", "stack", "stacked", "volume"]

CORNER = SearchSpace(Gene(f"g{i}", Choice(*"abcd"), "a") for i in range(5))  # 1,024 points, one of which is planted


def planted(seed: int) -> Callable[[Genotype], tuple[float]]:
    """Return the share of genes of `CORNER` that are right; one point of all, drawn by the seed, has 1."""
    target = CORNER.sample(np.random.default_rng((7, seed)))
    return lambda genotype: (sum(genotype[name] == target[name] for name in CORNER) / len(CORNER),)


def stacked(depth: int) -> SearchSpace:
    """Return a space of up to `depth` layers, each with an op and a width."""
    layers = [
        gene
        for i in range(depth)
        for gene in (
            Gene(f"{i}.op", Choice(*range(5)), 0, "depth", tuple(range(i + 1, depth + 1))),
            Gene(f"{i}.width", Int(1, 8), 4, "depth", tuple(range(i + 1, depth + 1))),
        )
    ]
    return SearchSpace([Gene("depth", Int(1, depth), 1), *layers])


def stack(seed: int, depth: int) -> Callable[[Genotype], tuple[float]]:
    """Return a value of stacked layers: an op and a width fit a layer or hurt it, later layers count less; most ops hurt."""
    rng = np.random.default_rng(seed)
    quality, best = rng.normal(-0.3, 1.0, (depth, 5)), rng.integers(1, 9, depth)

    def value(genotype: Genotype) -> tuple[float]:
        chosen = [(_int(genotype[f"{i}.op"]), _int(genotype[f"{i}.width"])) for i in range(_int(genotype["depth"]))]
        gains = (quality[i, op] - 0.1 * abs(width - best[i]) for i, (op, width) in enumerate(chosen))
        return (float(sum(0.8**i * gain for i, gain in enumerate(gains))),)

    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def volume(pairs: Sequence[tuple[float, ...]], corner: tuple[float, float]) -> float:
    """Return the area that two maximised objectives dominate above `corner`."""
    total, height = 0.0, corner[1]
    for first, second in sorted(set(pairs), reverse=True):
        if second > height and first > corner[0]:
            total, height = total + (first - corner[0]) * (second - height), second
    return total
