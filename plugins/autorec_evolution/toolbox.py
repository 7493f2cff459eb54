"""DEAP's toolbox over genotypes, without its global `creator` and without leaving a trace in the global `random`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deap import base, tools

from autorec_kernel.records.trial import Trial
from autorec_kernel.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Individual", "fitness_class", "local_random", "toolbox_for"]


class Individual:
    """A told trial with the fitness object that DEAP's selections read.

    Args:
        trial: A trial with objectives.
        fitness: From `fitness_class`, holding the objectives.
    """

    def __init__(self, trial: Trial, fitness: base.Fitness) -> None:
        self.number = trial.number
        self.genotype = trial.genotype
        self.fitness = fitness


def fitness_class(objectives: int) -> type[base.Fitness]:
    """Return a fitness class that maximises `objectives` values; DEAP wants the weights on the class."""
    return type("Fitness", (base.Fitness,), {"weights": (1.0,) * objectives})


def toolbox_for(space: SearchSpace, objectives: int, tournament: int) -> base.Toolbox:
    """Return a toolbox with `survive`, `parents`, `mate` and `mutate`.

    For one objective the newest survive and parents win a tournament (aging evolution); for several, NSGA-II chooses the
    survivors, and parents win a tournament of two by dominance, then crowding.
    """
    box = base.Toolbox()
    box.register("mate", space.crossover)
    box.register("mutate", space.mutate)
    if objectives == 1:
        box.register("survive", _newest)
        box.register("parents", tools.selTournament, tournsize=tournament)
    else:
        box.register("survive", tools.selNSGA2)
        box.register("parents", _crowded)
    return box


def _newest(individuals: Sequence[Individual], count: int) -> list[Individual]:
    return sorted(individuals, key=lambda one: one.number)[-count:]


def _crowded(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """Return winners of dominance tournaments; DEAP's takes multiples of four from that many individuals at least."""
    rounds = list(individuals) * -(-4 // len(individuals))
    usable = rounds[: len(rounds) - len(rounds) % 4]
    winners: list[Any] = []
    while len(winners) < count:
        winners += tools.selTournamentDCD(usable, len(usable))
    return [random.choice(winners) for _ in range(count)]


@contextmanager
def local_random(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global `random`, which DEAP draws from, and put its state back afterwards."""
    state = random.getstate()
    random.seed(int(rng.integers(2**63)))
    try:
        yield
    finally:
        random.setstate(state)
