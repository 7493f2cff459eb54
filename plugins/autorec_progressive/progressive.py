"""Progressive search: a bound on complexity grows by stages, and the best of what is simpler have larger children."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace
from autorec_progressive.complexity import Ladder, complexity

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Progressive", "ProgressiveSession"]

_TRIES = 64  # draws or moves that may miss the bound before anything new within the space is taken


class Progressive:
    """Simple first, complexity grows, winners inherited (in the spirit of Liu et al. 2018, without their predictor).

    Stage s of S admits what is at most as complex as s/S of its own family (see `complexity.Ladder`); the last stage admits all.
    The first stage draws; every later one has children of the winners so far. During the first half of a stage a child is larger
    than its parent. Several objectives: winners have the smallest sum of ranks.
    """

    class Config(ComponentConfig):
        """Options of the stages."""

        stages: int = Field(4, ge=1, le=100, description="Stages; the last one admits the whole space.")
        length: int = Field(16, ge=1, le=100_000, description="Usable trials per stage, foreign ones included.")
        winners: int = Field(4, ge=1, le=100_000, description="Best trials that have children.")
        draws: float = Field(0.1, ge=0.0, le=1.0, description="Chance of a random draw within the bound instead of a child.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> ProgressiveSession:
        """Begin a search with the simple part of the space."""
        return ProgressiveSession(self.config, space, max(1, len(objectives)))


class ProgressiveSession:
    """Keeps the usable trials; stage and winners are read from them.

    Args:
        config: Options of the stages.
        space: Where to search.
        objectives: How many values a usable trial carries.
    """

    def __init__(self, config: Progressive.Config, space: SearchSpace, objectives: int) -> None:
        self._config = config
        self._space = space
        self._objectives = objectives
        self._ladder = Ladder(space)
        self._told: dict[int, Trial] = {}  # by number: a promoted trial replaces its lower rung
        self._known: dict[Genotype, None] = {}

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take a batch; strangers and trials without finite objectives do not count."""
        self._known.update(dict.fromkeys(trial.genotype for trial in trials))
        self._told.update({trial.number: trial for trial in sorted(trials, key=_rung) if self._usable(trial)})

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` proposals of the stage that the number of usable trials has reached."""
        taken = ChainMap({}, self._known)
        stage = min(self._config.stages, 1 + len(self._told) // self._config.length)
        winners = self._winners(stage) if stage > 1 or self._config.stages == 1 else []
        return tuple(self._proposal(stage, winners, taken, rng) for _ in range(count))

    def _winners(self, stage: int) -> list[Trial]:
        """Return the best trials within the bound, best first; among equals the simpler and then the earlier one."""
        admitted = [trial for trial in self._told.values() if self._admits(stage, trial.genotype)]
        total = dict.fromkeys((trial.number for trial in admitted), 0)
        for k in range(self._objectives):
            place = {value: rank for rank, value in enumerate(sorted({trial.objectives[k] for trial in admitted}, reverse=True))}
            for trial in admitted:
                total[trial.number] += place[trial.objectives[k]]
        found = sorted(admitted, key=lambda trial: (total[trial.number], self._ladder.place(trial.genotype), trial.number))
        return found[: self._config.winners]

    def _proposal(self, stage: int, winners: Sequence[Trial], taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Proposal:
        if winners and rng.random() >= self._config.draws:
            parent = winners[int(rng.integers(len(winners)))]
            child = self._child(stage, parent.genotype, taken, rng)
            if child is not None:
                taken[child] = None
                return Proposal(child, parent.number, f"stage {stage}: child of {parent.number}")
        drawn = self._draw(stage, taken, rng)
        taken[drawn] = None
        return Proposal(drawn, reason=f"stage {stage}: draw")

    def _child(self, stage: int, parent: Genotype, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Genotype | None:
        """Return a new mutant within the bound, a larger one in the first half of a stage if one is found; None without any."""
        spare = None
        growing = (
            len(self._told) % self._config.length * 2 < self._config.length and len(self._told) < self._config.stages * self._config.length
        )
        floor = complexity(self._space, parent)
        for tries in range(_TRIES):
            child = self._space.mutate(parent, rng, 1 + tries // 32)
            if child in taken or not self._admits(stage, child):
                continue
            if not growing or complexity(self._space, child) > floor:
                return child
            spare = spare or child
        return spare

    def _draw(self, stage: int, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Genotype:
        """Return a draw within the bound; when 64 have missed it, the simplest new one of them, or anything new."""
        missed: list[tuple[float, Genotype]] = []
        for _ in range(_TRIES):
            drawn = self._space.sample(rng)
            if drawn not in taken:
                if self._admits(stage, drawn):
                    return drawn
                missed.append((self._ladder.place(drawn), drawn))
        return min(missed, key=lambda pair: pair[0])[1] if missed else self._space.sample_new(rng, taken)

    def _admits(self, stage: int, genotype: Genotype) -> bool:
        return stage >= self._config.stages or self._ladder.place(genotype) <= stage / self._config.stages

    def _usable(self, trial: Trial) -> bool:
        finite = len(trial.objectives) == self._objectives and all(map(math.isfinite, trial.objectives))
        return finite and self._space.admits(trial.genotype)


def _rung(trial: Trial) -> int:
    return trial.rung
