"""Strategies beside each other: null evaluations of a problem that is known everywhere, regrets, and a sign test over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autorec_kernel.contracts.search import SearchStrategy
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Genotype, SearchSpace

__all__ = ["Comparison", "Problem", "compared", "regrets", "search", "sign_test"]


class Problem(Protocol):
    """A space whose every point has a known value, to be maximised."""

    @property
    def space(self) -> SearchSpace:
        """Where to search."""
        ...

    @property
    def best(self) -> float:
        """The largest value."""
        ...

    def __call__(self, genotype: Genotype, /) -> float:
        """Return the value of a point."""
        ...


def search(
    strategy: SearchStrategy,
    space: SearchSpace,
    objectives: Callable[[Genotype], tuple[float, ...]],
    trials: int,
    seed: int,
    batch: int = 4,
) -> list[Trial]:
    """Return the trials of a search whose evaluations cost nothing, in batches as the search loop's."""
    session = strategy.start(space, tuple(f"objective {i}" for i in range(len(objectives(space.default())))))
    told: list[Trial] = []
    while len(told) < trials:
        asked = session.ask(min(batch, trials - len(told)), np.random.default_rng((seed, len(told))))
        now = [
            Trial(number, p.genotype, "complete", objectives(p.genotype), parent=p.parent, reason=p.reason)
            for number, p in enumerate(asked, len(told))
        ]
        session.tell(now)
        told += now
    return told


def regrets(strategy: SearchStrategy, problem: Problem, trials: int, seeds: Iterable[int]) -> list[float]:
    """Return what the best of so many evaluations lacks of the best there is, one figure a seed."""
    return [problem.best - max(t.value for t in search(strategy, problem.space, lambda g: (problem(g),), trials, seed)) for seed in seeds]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired figures of two strategies, smaller is better.

    Args:
        median, other: Medians of ours and of the other's.
        ratio: The one by the other; infinite, or 1 where both are 0, where the other is 0.
        wins, losses: Pairs in which ours is smaller, or larger; ties are in neither.
        p: Of the two-sided sign test.
    """

    median: float
    other: float
    ratio: float
    ratio_of_means: float
    wins: int
    losses: int
    p: float


def compared(ours: Sequence[float], other: Sequence[float]) -> Comparison:
    """Compare regrets, one a seed in the same order."""
    wins, losses = (sum(a < b for a, b in zip(*pair, strict=True)) for pair in ((ours, other), (other, ours)))
    (mine, theirs), means = (float(np.median(values)) for values in (ours, other)), (float(np.mean(ours)), float(np.mean(other)))
    return Comparison(mine, theirs, _ratio(mine, theirs), _ratio(*means), wins, losses, sign_test(wins, losses))


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.inf if a else 1.0


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p of the sign test, ties left out."""
    count = wins + losses
    more = sum(math.comb(count, k) for k in range(max(wins, losses), count + 1))
    return min(1.0, math.ldexp(more, 1 - count))
