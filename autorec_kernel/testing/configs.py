"""Configs to judge a component by: its defaults, the corners of its search domains, and a draw between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import ValidationError

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.space import Bool, Choice, Domain, Float, Floats, Int, Ints, SearchSpace, config_values, genes_of

__all__ = ["corner", "describe", "variants"]


def variants(kind: type[ComponentConfig]) -> tuple[ComponentConfig, ...]:
    """Return distinct configs, the defaults first; combinations that the class itself refuses are left out.

    Empty when a field has no default: such a component is judged by configs that somebody names or that it proposes.
    """
    found: dict[str, ComponentConfig] = {}
    for values in ({}, *(_searched(kind, pick) for pick in (_low, _high, _drawn))):
        try:
            config = kind(**values)
        except (ValidationError, AutoRecError):
            continue
        found.setdefault(config.model_dump_json(), config)
    return tuple(found.values())


def describe(config: Any) -> str:
    """Return `rank=7, bias=False`: the options that differ from the defaults, in short."""
    if not isinstance(config, ComponentConfig):
        return ""
    kind = type(config)
    changed = {
        name: getattr(config, name)
        for name, info in kind.model_fields.items()
        if info.is_required() or getattr(config, name) != info.get_default(call_default_factory=True)
    }
    return ", ".join(f"{name}={value!r}" for name, value in changed.items())[:120]


def corner(domain: Domain, high: bool) -> Any:
    """Return the smallest or largest member of a domain."""
    match domain:
        case Int() | Float():
            return domain.at(1.0 if high else 0.0)
        case Ints() | Floats():
            return (corner(domain.item, high),) * corner(domain.length, high)
        case Bool():
            return high
        case Choice():
            return domain.options[-1 if high else 0]
    return domain.sample(np.random.default_rng(int(high)))


def _searched(kind: type[ComponentConfig], pick: Callable[[SearchSpace], dict[str, Any]]) -> dict[str, Any]:
    try:
        return pick(SearchSpace(genes_of(kind, "")))
    except AutoRecError:
        return {}  # a default outside its domain is a finding of its own


def _low(space: SearchSpace) -> dict[str, Any]:
    return {name: corner(gene.domain, high=False) for name, gene in space.items()}


def _high(space: SearchSpace) -> dict[str, Any]:
    return {name: corner(gene.domain, high=True) for name, gene in space.items()}


def _drawn(space: SearchSpace) -> dict[str, Any]:
    return config_values(space.sample(np.random.default_rng(20)), "")
