"""Genes as Optuna parameters: one for a scalar, a length and its items for a list, none where there is nothing to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autorec_kernel.space import Bool, Choice, Domain, Float, Floats, Gene, Genotype, Int, Ints, SearchSpace, Value

__all__ = ["Suggest", "decode", "encode", "suggester"]

Suggest = Callable[[str, BaseDistribution], Any]


def encode(space: SearchSpace, genotype: Genotype) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return the parameters and distributions of a canonical genotype; inactive genes have none."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, value in genotype.items():
        for key, domain, item in _parts(space[name], value):
            distribution = _distribution(domain)
            if distribution is not None:
                params[key], distributions[key] = _to_param(domain, item), distribution
    return params, distributions


def decode(space: SearchSpace, suggest: Suggest) -> Genotype:
    """Walk the space in order and ask `suggest` for the parameters of every active gene."""
    values: dict[str, Value] = {}
    for gene in space.genes:
        if space.awake(gene, values):
            values[gene.name] = _suggested(gene, suggest)
    return space.canonical(values)


def suggester(trial: optuna.Trial) -> Suggest:
    """Return the function that asks `trial` for one parameter by name and distribution."""

    def suggest(name: str, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return trial.suggest_categorical(name, distribution.choices)
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        assert isinstance(distribution, FloatDistribution)
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)

    return suggest


def _suggested(gene: Gene, suggest: Suggest) -> Value:
    domain = gene.domain
    if not isinstance(domain, (Ints, Floats)):
        return _value(gene.name, domain, suggest)
    length = cast(int, _value(f"{gene.name}#length", domain.length, suggest))
    return tuple(cast("int | float", _value(f"{gene.name}#{i}", domain.item, suggest)) for i in range(length))


def _value(key: str, domain: Domain, suggest: Suggest) -> Value:
    distribution = _distribution(domain)
    if distribution is None:
        return next(iter(domain.values()))
    param = suggest(key, distribution)
    if isinstance(domain, (Choice, Bool)):
        return tuple(domain.values())[param]
    return domain.cast(param)


def _parts(gene: Gene, value: Value) -> list[tuple[str, Domain, Value]]:
    domain = gene.domain
    if not isinstance(domain, (Ints, Floats)):
        return [(gene.name, domain, value)]
    items = cast("tuple[Any, ...]", value)
    return [(f"{gene.name}#length", domain.length, len(items))] + [(f"{gene.name}#{i}", domain.item, item) for i, item in enumerate(items)]


def _to_param(domain: Domain, value: Value) -> Any:
    if isinstance(domain, Choice):
        return domain.index(value)
    return int(cast(bool, value)) if isinstance(domain, Bool) else value


def _distribution(domain: Domain) -> BaseDistribution | None:
    """Return Optuna's distribution of a scalar domain; options by their index, because Optuna confuses `1` with `True`."""
    if domain.size == 1:
        return None
    if isinstance(domain, Int):
        top = domain.low + (int(domain.size) - 1) * domain.step
        return IntDistribution(domain.low, top, log=domain.log, step=domain.step)
    if isinstance(domain, Float):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    return CategoricalDistribution(tuple(range(int(domain.size))))
