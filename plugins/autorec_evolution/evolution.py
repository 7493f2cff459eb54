"""Evolution as a strategy: the population is a function of the told batches."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from autorec_evolution.toolbox import Individual, fitness_class, local_random, toolbox_for
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Evolution", "EvolutionSession"]

_TRIES = 16  # moves made to get away from what is known, before a random draw


class Evolution:
    """Aging evolution (Real et al. 2019) for one objective, NSGA-II (Deb et al. 2002) for several.

    Children come from crossover, mutation or both; the first parent's number is in the proposal. Failed trials never become
    parents, and nothing is proposed twice while the space has new points. The defaults were fixed on synthetic tables
    (`benchmarks/strategies.py`).
    """

    class Config(ComponentConfig):
        """Options of the evolution."""

        population: int = Field(24, ge=2, le=100_000, description="Size of the living population.")
        startup: int = Field(12, ge=1, le=100_000, description="Usable trials, foreign ones included, before the first child.")
        tournament: int = Field(12, ge=1, le=100_000, description="Individuals that compete to be a parent (one objective).")
        crossover: float = Field(0.6, ge=0.0, le=1.0, description="Chance that a child has two parents.")
        mutation: float = Field(0.0, ge=0.0, le=1.0, description="Chance of each further gene to change in a mutation.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> EvolutionSession:
        """Begin a search for the maximum of one objective or the front of several."""
        return EvolutionSession(self.config, space, max(1, len(objectives)))


class EvolutionSession:
    """Keeps the population that survived the told batches: parents and children together (the plus selection of NSGA-II).

    Args:
        config: Options of the evolution.
        space: Where to search.
        objectives: How many values a usable trial carries.
    """

    def __init__(self, config: Evolution.Config, space: SearchSpace, objectives: int) -> None:
        self._config = config
        self._space = space
        self._fitness = fitness_class(objectives)
        self._objectives = objectives
        self._box = toolbox_for(space, objectives, config.tournament)
        self._alive: dict[int, Individual] = {}  # by number: a promoted trial replaces its lower rung
        self._usable: set[int] = set()
        self._known: dict[Genotype, None] = {}

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take a batch and let the population survive it; strangers and trials without finite objectives do not breed."""
        self._known.update(dict.fromkeys(trial.genotype for trial in trials))
        bred = [trial for trial in sorted(trials, key=_rung) if self._breeds(trial)]
        self._usable.update(trial.number for trial in bred)
        pool = self._alive | {trial.number: Individual(trial, self._fitness(trial.objectives)) for trial in bred}
        alive = self._box.survive([pool[number] for number in sorted(pool)], self._config.population) if pool else []
        self._alive = {one.number: one for one in alive}

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` proposals: random ones at first, then children of the population."""
        taken = ChainMap({}, self._known)
        if len(self._usable) < self._config.startup:
            return tuple(self._stranger(taken, rng) for _ in range(count))
        with local_random(rng):
            parents = self._box.parents([self._alive[number] for number in sorted(self._alive)], 2 * count)
        return tuple(self._child(a, b, taken, rng) for a, b in zip(parents[::2], parents[1::2], strict=True))

    def _child(self, a: Individual, b: Individual, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Proposal:
        mated = a.genotype != b.genotype and rng.random() < self._config.crossover
        start = self._box.mate(a.genotype, b.genotype, rng) if mated else a.genotype
        reason = f"crossover of {a.number} and {b.number}" if mated else f"mutation of {a.number}"
        child = start if mated and rng.random() < 0.5 else self._mutant(start, rng)
        for _ in range(_TRIES):
            if child not in taken:
                taken[child] = None
                return Proposal(child, parent=a.number, reason=reason)
            child = self._mutant(child, rng)
        return self._stranger(taken, rng)

    def _mutant(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        further = int(rng.geometric(1.0 - self._config.mutation)) - 1 if self._config.mutation < 1.0 else len(genotype)
        mutant: Genotype = self._box.mutate(genotype, rng, 1 + further)
        return mutant

    def _stranger(self, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Proposal:
        drawn = self._space.sample_new(rng, taken)
        taken[drawn] = None
        return Proposal(drawn, reason="random draw")

    def _breeds(self, trial: Trial) -> bool:
        finite = len(trial.objectives) == self._objectives and all(map(math.isfinite, trial.objectives))
        return finite and self._space.admits(trial.genotype)


def _rung(trial: Trial) -> int:
    return trial.rung
