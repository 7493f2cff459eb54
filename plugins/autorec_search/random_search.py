"""Random search: the yardstick that every other strategy has to beat."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RandomSearch", "RandomSession"]


class RandomSession:
    """Draws from the space; remembers what was told only to avoid proposing it again.

    Args:
        space: Where to draw from.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: dict[Genotype, None] = {}

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` draws, new and distinct while the space has new points."""
        taken: ChainMap[Genotype, None] = ChainMap({}, self._known)
        drawn: list[Proposal] = []
        for _ in range(count):
            genotype = self._space.sample_new(rng, taken)
            taken[genotype] = None
            drawn.append(Proposal(genotype, reason="random draw"))
        return tuple(drawn)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Remember what has been tried, whatever became of it."""
        self._known.update(dict.fromkeys(trial.genotype for trial in trials))


class RandomSearch:
    """Every active gene drawn from its domain, parents first (Bergstra and Bengio 2012)."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> RandomSession:
        """Begin a search; the objectives do not matter to it."""
        return RandomSession(space)
