"""A planted optimum in a conditional, mixed space, and what searches find there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from autorec_kernel.contracts.search import SearchStrategy
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Gene, Genotype, Int, Ints, SearchSpace
from autorec_search import compare
from autorec_search.problems import CORNER, planted

__all__ = ["SPACE", "finds", "search", "value", "wins_against_random"]

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
    """Return `budget` trials of a search."""
    return compare.search(strategy, space, objectives, budget, seed, batch)


def wins_against_random(strategy: SearchStrategy, random: SearchStrategy, *, seeds: int = 20, budget: int = 60) -> int:
    """Return in how many of `seeds` pairs of equal budget the strategy's best value is above that of random search."""
    best = [max(trial.value for trial in search(strategy, seed, budget=budget)) for seed in range(seeds)]
    drawn = [max(trial.value for trial in search(random, 1000 + seed, budget=budget)) for seed in range(seeds)]
    return sum(a > b for a, b in zip(best, drawn, strict=True))


def finds(strategy: SearchStrategy, seeds: range, *, budget: int = 100) -> int:
    """Return in how many searches the planted point of `CORNER` is tried."""
    return sum(any(trial.value == 1.0 for trial in compare.search(strategy, CORNER, planted(seed), budget, seed)) for seed in seeds)
