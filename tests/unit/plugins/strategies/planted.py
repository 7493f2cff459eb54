"""A planted optimum in a conditional, mixed space, and a plain search loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autorec_kernel.contracts.search import SearchStrategy
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Gene, Genotype, Int, Ints, SearchSpace

__all__ = ["CORNER", "SPACE", "finds", "search", "stack", "stacked", "value", "volume", "wins_against_random"]

SPACE = SearchSpace(
    [
        Gene("model", Choice("mf", "fm", "gru"), "mf"),
        Gene("fm.rank", Int(4, 128, log=True), 16, "model", ("fm",)),
        Gene("gru.layers", Int(1, 3), 1, "model", ("gru",)),
        Gene("gru.dims", Ints(Int(16, 256, log=True), length=Int(1, 3)), (64,), "model", ("gru",)),
        Gene("gru.dropout", Float(0.0, 0.6), 0.3, "model", ("gru",)),
        Gene("gru.tied", Bool(), False, "gru.layers", (2, 3)),
        Gene("learning_rate", Float(1e-4, 1e-1, log=True), 1e-2),
        Gene("batch_size", Choice(128, 256, 512, 1024), 128),
        Gene("activation", Choice("relu", "gelu", "tanh", "silu"), "relu"),
    ]
)


def value(genotype: Any) -> float:
    """Return a value whose maximum, 2.1, is a tied two-layer GRU of two layers of 64 at learning rate 10**-2.5."""
    found = -0.5 * abs(math.log10(genotype["learning_rate"]) + 2.5)
    found += {128: 0.0, 256: 0.3, 512: 0.6, 1024: 0.1}[genotype["batch_size"]]
    found += {"relu": 0.0, "gelu": 0.4, "tanh": 0.1, "silu": 0.2}[genotype["activation"]]
    if genotype["model"] == "fm":
        return found + 0.4 - 0.1 * abs(math.log2(genotype["fm.rank"]) - 5)
    if genotype["model"] == "mf":
        return found
    found += 0.5 + 0.3 * (genotype["gru.layers"] == 2) + 0.3 * genotype.get("gru.tied", False)
    found -= 0.2 * abs(len(genotype["gru.dims"]) - 2) + 2 * abs(genotype["gru.dropout"] - 0.2)
    return found - 0.1 * sum(abs(math.log2(width) - 6) for width in genotype["gru.dims"])


def search(
    strategy: SearchStrategy,
    seed: int,
    *,
    budget: int = 60,
    batch: int = 5,
    space: SearchSpace = SPACE,
    objectives: Callable[[Genotype], tuple[float, ...]] = lambda genotype: (value(genotype),),
) -> list[Trial]:
    """Run ask and tell until `budget` trials are there."""
    session = strategy.start(space, ("m",) * len(objectives(space.default())))
    trials: list[Trial] = []
    while len(trials) < budget:
        asked = session.ask(batch, np.random.default_rng((seed, len(trials))))
        told = [
            Trial(number, p.genotype, "complete", objectives(p.genotype), parent=p.parent, reason=p.reason)
            for number, p in enumerate(asked, len(trials))
        ]
        session.tell(told)
        trials += told
    return trials


def wins_against_random(strategy: SearchStrategy, random: SearchStrategy, *, seeds: int = 20, budget: int = 60) -> int:
    """Return in how many of `seeds` pairs of equal budget the strategy's best value is above that of random search."""
    best = [max(trial.value for trial in search(strategy, seed, budget=budget)) for seed in range(seeds)]
    drawn = [max(trial.value for trial in search(random, 1000 + seed, budget=budget)) for seed in range(seeds)]
    return sum(a > b for a, b in zip(best, drawn, strict=True))


CORNER = SearchSpace(Gene(f"g{i}", Choice(*"abcd"), "a") for i in range(5))  # 1,024 points, one of which is planted


def finds(strategy: SearchStrategy, seeds: range, *, budget: int = 100) -> int:
    """Return in how many searches the planted point is tried; the value is the share of genes that are right."""
    found = 0
    for seed in seeds:
        target = CORNER.sample(np.random.default_rng((7, seed)))

        def right(genotype: Genotype, target: Genotype = target) -> tuple[float, ...]:
            return (sum(genotype[name] == target[name] for name in CORNER) / len(CORNER),)

        found += any(trial.value == 1.0 for trial in search(strategy, seed, budget=budget, batch=4, space=CORNER, objectives=right))
    return found


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


def stack(seed: int, depth: int) -> Callable[[Genotype], tuple[float, ...]]:
    """Return a value of stacked layers: an op and a width fit a layer or hurt it, later layers count less, most ops hurt."""
    rng = np.random.default_rng(seed)
    quality, best = rng.normal(-0.3, 1.0, (depth, 5)), rng.integers(1, 9, depth)

    def found(genotype: Any) -> tuple[float, ...]:
        gains = (quality[i, genotype[f"{i}.op"]] - 0.1 * abs(genotype[f"{i}.width"] - best[i]) for i in range(genotype["depth"]))
        return (float(sum(0.8**i * gain for i, gain in enumerate(gains))),)

    return found


def volume(pairs: Sequence[tuple[float, ...]], corner: tuple[float, float]) -> float:
    """Return the area that two maximised objectives dominate above `corner`."""
    total, height = 0.0, corner[1]
    for first, second in sorted(set(pairs), reverse=True):
        if second > height and first > corner[0]:
            total, height = total + (first - corner[0]) * (second - height), second
    return total
