"""The numeric part of a fixed choice: what a Gaussian process or CMA-ES may move while every option stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from autorec_bayes.encoding import decode, encode
from autorec_kernel.errors import PluginError
from autorec_kernel.space import Float, Floats, Genotype, Int, Ints, SearchSpace

__all__ = ["Numbers", "evolved", "regressed"]

Told = Sequence[tuple[Mapping[str, Any], tuple[float, ...]]]  # free parameters and objectives, in the order of the trials
_SIGMA = 0.3  # CMA-ES: first step, as a share of a gene's range
_FIRST = 5  # trials of a choice before the Gaussian process speaks; random numbers until then


class Numbers:
    """The numeric genes of a genotype that may move without waking or silencing another gene.

    Options, switches, lengths of lists and parents of other genes are the fixed choice. Items of a list are free.

    Args:
        space: Where the genotype lives.
        genotype: Canonical; it says what is fixed.
    """

    def __init__(self, space: SearchSpace, genotype: Genotype) -> None:
        self._space = space
        params, distributions = encode(space, genotype)
        self.free = {key: distribution for key, distribution in distributions.items() if self._moves(key, distribution)}
        self.fixed = {key: value for key, value in params.items() if key not in self.free}

    def _moves(self, key: str, distribution: BaseDistribution) -> bool:
        if isinstance(distribution, CategoricalDistribution) or key.endswith("#length"):
            return False
        return not (key in self._space and self._space.children(key))

    def of(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the free ones among the parameters of a genotype with the same fixed choice, None for another choice."""
        same = params.keys() == self.free.keys() | self.fixed.keys() and all(params[key] == value for key, value in self.fixed.items())
        return {key: params[key] for key in self.free} if same else None

    def genotype(self, drawn: Mapping[str, Any]) -> Genotype:
        """Return the fixed choice with other numbers."""
        return decode(self._space, lambda key, distribution: drawn[key] if key in self.free else self.fixed[key])

    def unit(self, key: str, value: Any) -> float:
        """Return the position of a free parameter in [0, 1], on its domain's scale."""
        domain = self._domain(key)
        return domain.unit(value)

    def at(self, key: str, unit: float) -> Any:
        """Return the value of a free parameter at a position in [0, 1]."""
        return self._domain(key).at(unit)

    def _domain(self, key: str) -> Int | Float:
        domain = self._space[key if key in self._space else key.rpartition("#")[0]].domain
        return domain.item if isinstance(domain, (Ints, Floats)) else cast("Int | Float", domain)


def regressed(numbers: Numbers, told: Told, count: int, seed: int) -> list[dict[str, Any]]:
    """Return draws of Optuna's Gaussian process: expected improvement, for several objectives of the hypervolume."""
    sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=_FIRST, deterministic_objective=True)
    study = optuna.create_study(directions=["maximize"] * (len(told[0][1]) if told else 1), sampler=sampler)
    for params, values in told:
        study.add_trial(optuna.trial.create_trial(params=dict(params), distributions=numbers.free, values=list(values)))
    return [study.ask(numbers.free).params for _ in range(count)]


def evolved(numbers: Numbers, told: Told, losses: Sequence[float], count: int, seed: int) -> list[dict[str, Any]]:
    """Return draws of CMA-ES (Hansen and Ostermeier 2001), replayed from the told trials one generation after the other.

    Points that CMA-ES did not draw itself take part (injection, Hansen 2011). An incomplete last generation waits.

    Raises:
        PluginError: The package `cmaes` is not installed.
    """
    try:
        from cmaes import CMA
    except ImportError:
        raise PluginError("sampler 'cma' needs the package cmaes", hint="pip install 'autorec-kernel[bayes]'") from None

    keys = tuple(numbers.free)

    def fresh() -> Any:
        return CMA(mean=np.full(len(keys), 0.5), sigma=_SIGMA, bounds=np.tile([0.0, 1.0], (len(keys), 1)), seed=seed)

    optimizer = fresh()
    rows = [np.array([numbers.unit(key, params[key]) for key in keys]) for params, _ in told]
    pairs = list(zip(rows, losses, strict=True))
    for start in range(0, len(pairs) - len(pairs) % optimizer.population_size, optimizer.population_size):
        optimizer.tell(pairs[start : start + optimizer.population_size])
        optimizer = fresh() if optimizer.should_stop() else optimizer
    drawn = [optimizer.ask() for _ in range(count)]
    return [{key: numbers.at(key, min(1.0, max(0.0, float(x)))) for key, x in zip(keys, row, strict=True)} for row in drawn if _finite(row)]


def _finite(row: np.ndarray[Any, Any]) -> bool:
    return all(map(math.isfinite, row.tolist()))
