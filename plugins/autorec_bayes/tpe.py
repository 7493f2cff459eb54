"""Optuna's TPE as a sampler only: a fresh in-memory study per batch, built from what was told, thrown away afterwards."""

from __future__ import annotations

import logging
import math
import warnings
from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import optuna
from pydantic import Field

from autorec_bayes.encoding import decode, encode, suggester
from autorec_bayes.numbers import Numbers, evolved, regressed
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution

__all__ = ["TreeParzen", "TreeParzenSession"]

_MOVES = 8  # neighbours tried when the sampler repeats itself
_WORK = 1200  # genes times trials the model looks at: what keeps a proposal under 50 ms
_FAULTS = ("failed", "timeout", "oom", "nan", "infeasible")  # endings that say something about the candidate


class TreeParzen:
    """TPE over the active genes (Bergstra et al. 2011; jointly: Falkner et al. 2018); several objectives by hypervolume.

    Within a batch the proposals not yet evaluated count as bad (constant liar), so that a batch spreads out. A proposal that was
    made before is replaced by a neighbour of it. A trial that failed or broke a limit counts as bad as the worst one, so that the
    model leaves such regions; it is not proposed again.

    With `sampler = "gp"` or `"cma"` every other proposal keeps the options, lengths and parents of the best trial and moves its
    numbers alone, by a Gaussian process or CMA-ES over the trials of that choice; all proposals do where there is nothing else to choose.
    """

    class Config(ComponentConfig):
        """Options of the estimator."""

        sampler: Literal["tpe", "gp", "cma"] = Field("tpe", description="What moves the numbers of the best choice: TPE, or gp or cma too.")

        startup: int = Field(10, ge=1, le=100_000, description="Trials, foreign ones included, before the model speaks.")
        candidates: int = Field(24, ge=1, le=100_000, description="Draws from the good density per proposal.")
        multivariate: bool = Field(False, description="Whether genes active together are modelled together, at twice the cost.")
        history: int = Field(
            100, ge=20, le=100_000, description="Trials the model looks at, fewer beyond 12 genes: the best quarter and the newest."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> TreeParzenSession:
        """Begin a search for the maximum of one objective or the front of several."""
        return TreeParzenSession(self.config, space, max(1, len(objectives)))


class TreeParzenSession:
    """Keeps the told trials; every batch rebuilds the study from them and from the batch's own rng.

    Args:
        config: Options of the estimator.
        space: Where to search.
        objectives: How many values a usable trial carries.
    """

    def __init__(self, config: TreeParzen.Config, space: SearchSpace, objectives: int) -> None:
        self._config = config
        self._space = space
        self._objectives = objectives
        self._told: dict[int, Trial] = {}  # by number: a promoted trial replaces its lower rung
        self._params: dict[int, tuple[dict[str, Any], dict[str, BaseDistribution]]] = {}
        self._known: dict[Genotype, None] = {}

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take a batch; trials of other spaces and those that say nothing about their candidate are left out."""
        self._known.update(dict.fromkeys(trial.genotype for trial in trials))
        for trial in sorted(trials, key=_rung):
            if (self._usable(trial) or trial.status in _FAULTS) and self._space.admits(trial.genotype):
                self._told[trial.number] = trial
                self._params[trial.number] = encode(self._space, trial.genotype)

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` proposals: random ones at first, then draws from the densities."""
        taken = ChainMap({}, self._known)
        if sum(map(self._usable, self._told.values())) < self._config.startup:
            return tuple(Proposal(self._fresh(None, taken, rng), reason="startup draw") for _ in range(count))
        with _quiet():
            drawn = self._drawn(count, int(rng.integers(2**31)))
        return tuple(Proposal(self._fresh(genotype, taken, rng), reason=reason) for genotype, reason in drawn)

    def _drawn(self, count: int, seed: int) -> list[tuple[Genotype, str]]:
        """Return what the samplers say, with who said it; repeats are possible."""
        local = self._local(count, seed) if self._config.sampler != "tpe" else []
        if len(local) < count:
            study = self._study(seed)
            local += [(self._suggest(study), "tpe draw") for _ in range(count - len(local))]
        return local

    def _local(self, count: int, seed: int) -> list[tuple[Genotype, str]]:
        """Return draws that keep the choice of the best trial: every other proposal, all where there is no other choice."""
        ranks = self._ranks(list(self._told.values()))
        best = self._told[min(ranks, key=lambda number: (ranks[number], number))]
        numbers = Numbers(self._space, best.genotype)
        wanted = (count + len(self._told) % 2) // 2 if numbers.fixed else count
        if not numbers.free or not wanted:
            return []
        kind = self._config.sampler
        among = sorted(self._told) if kind == "cma" else [trial.number for trial in self._history()]
        same = [(number, numbers.of(self._params[number][0])) for number in among if number in ranks]
        told = [(params, self._told[number].objectives) for number, params in same if params is not None]
        losses = [float(ranks[number]) for number, params in same if params is not None]
        drawn = regressed(numbers, told, wanted, seed) if kind == "gp" else evolved(numbers, told, losses, wanted, seed)
        return [(numbers.genotype(params), f"{kind} draw") for params in drawn]

    def _fresh(self, genotype: Genotype | None, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Genotype:
        """Return `genotype`, or a neighbour of it, or a random draw: the first that is new, and take it."""
        found, tries = genotype, 0
        while genotype is not None and found in taken and tries < _MOVES:
            found, tries = self._space.mutate(genotype, rng, 1 + tries // 4), tries + 1
        if found is None or found in taken:
            found = self._space.sample_new(rng, taken)
        taken[found] = None
        return found

    def _suggest(self, study: optuna.Study) -> Genotype:
        return decode(self._space, suggester(study.ask()))

    def _study(self, seed: int) -> optuna.Study:
        usable = [trial.objectives for trial in self._told.values() if self._usable(trial)]
        worst = tuple(map(min, zip(*usable, strict=True)))
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=0,
            n_ei_candidates=self._config.candidates,
            multivariate=self._config.multivariate,
            group=self._config.multivariate,
            constant_liar=True,
        )
        study = optuna.create_study(directions=["maximize"] * self._objectives, sampler=sampler)
        study.add_trials([self._frozen(trial, worst) for trial in self._history()])
        return study

    def _frozen(self, trial: Trial, worst: tuple[float, ...]) -> optuna.trial.FrozenTrial:
        params, distributions = self._params[trial.number]
        values = list(trial.objectives if self._usable(trial) else worst)
        return optuna.trial.create_trial(params=params, distributions=distributions, values=values)

    def _usable(self, trial: Trial) -> bool:
        return len(trial.objectives) == self._objectives and all(map(math.isfinite, trial.objectives))

    def _history(self) -> list[Trial]:
        """Return the trials the model looks at, by number: all of them, or the best quarter of the cap and the newest."""
        told = [self._told[number] for number in sorted(self._told)]
        genes = max((len(params) for params, _ in self._params.values()), default=0)
        cap = min(self._config.history, max(20, _WORK // max(1, genes)))
        if len(told) <= cap:
            return told
        ranks = self._ranks(told)
        best = set(sorted(ranks, key=lambda number: (ranks[number], number))[: cap // 4])
        newest = [trial.number for trial in reversed(told) if trial.number not in best][: cap - len(best)]
        kept = best.union(newest)
        return [trial for trial in told if trial.number in kept]

    def _ranks(self, told: Sequence[Trial]) -> dict[int, int]:
        """Return the sum of every usable trial's ranks over the objectives, 0 a rank for the best."""
        total = {trial.number: 0 for trial in told if self._usable(trial)}
        for k in range(self._objectives):
            for rank, number in enumerate(sorted(total, key=lambda n: (-self._told[n].objectives[k], n))):
                total[number] += rank
        return total


def _rung(trial: Trial) -> int:
    return trial.rung


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's announcements (a study was created, an option is experimental) off the application's log."""
    log = logging.getLogger("optuna")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        log.setLevel(level)
