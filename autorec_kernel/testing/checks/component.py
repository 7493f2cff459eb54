"""Laws of every component: its `Config`, its one-argument constructor and the shape of its contract."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.space import genes_of
from autorec_kernel.testing.snapshots import digest
from autorec_kernel.testing.surroundings import globals_kept
from autorec_kernel.testing.violation import Violation, demand, violated

__all__ = ["check_config_is_frozen_and_strict", "check_constructor_is_cheap", "check_defaults_lie_in_domains", "check_implements"]

_CHEAP_SECONDS = 0.5


def check_config_is_frozen_and_strict(component: Any, config: Any, kernel: Any = None) -> None:
    """`Config` is a `ComponentConfig`: frozen, unknown keys refused, equal after a trip through JSON."""
    kind = getattr(component, "Config", None)
    demand(isinstance(kind, type) and issubclass(kind, ComponentConfig), f"Config is {kind!r}, expected a subclass of ComponentConfig")
    demand(isinstance(config, component.Config), f"the config is a {type(config).__name__}, not the component's own Config")
    text = config.model_dump_json()
    demand(type(config).model_validate_json(text) == config, f"the config is not the same after a trip through JSON: {text}")
    demand(type(config)(**json.loads(text)) == config, f"the config cannot be rebuilt from plain values: {text}")
    _demand_refusal(lambda: type(config)(**{**json.loads(text), "no_such_option": 1}), "Config accepts unknown keys")
    for name in type(config).model_fields:
        _demand_refusal(lambda name=name: setattr(config, name, getattr(config, name)), f"Config is not frozen: {name!r} can be set")


def check_defaults_lie_in_domains(component: Any, config: Any, kernel: Any = None) -> None:
    """Every searched field has a default that is a member of its domain and that `Config` itself accepts; every field is described."""
    try:
        genes = genes_of(component.Config, "")
    except AutoRecError as error:
        violated(f"the search domains do not fit the defaults: {error}")
    bare = [name for name, info in component.Config.model_fields.items() if not info.description]
    demand(not bare, f"options {bare} have no description: `autorec plugins show` prints it")
    for gene in genes:
        demand(gene.domain.size, f"the domain of {gene.name!r} is empty")


def check_constructor_is_cheap(component: Any, config: Any, kernel: Any = None) -> None:
    """The constructor takes exactly one argument, `config`, leaves it as it was, and returns at once."""
    parameters = [p for p in inspect.signature(component).parameters.values() if p.kind is not p.VAR_KEYWORD]
    demand(len(parameters) == 1, f"the constructor takes {[p.name for p in parameters]}, expected exactly one argument, the config")
    before = digest(config)
    with globals_kept("the constructor"):
        component(config)
        start = time.perf_counter()
        component(config)
        seconds = time.perf_counter() - start
    demand(digest(config) == before, "the constructor changed its config")
    demand(seconds < _CHEAP_SECONDS, f"the constructor took {seconds:.2f} s: work belongs to the methods")


def check_implements(component: Any, config: Any, contract: str) -> None:
    """An instance has every member of the contract (`package.module:Protocol`), and its methods take the contract's arguments."""
    module, _, name = contract.partition(":")
    protocol = getattr(import_module(module), name, None)
    if protocol is None:
        return
    instance = component(config)
    wanted = [member for member in _members(protocol) if not hasattr(instance, member)]
    demand(not wanted, f"{component.__name__} lacks {wanted} of the contract {name}")
    for member, method in _methods(protocol).items():
        own = inspect.signature(getattr(instance, member))
        arguments = list(inspect.signature(method).parameters.values())[1:]
        if any(p.kind is p.VAR_POSITIONAL for p in arguments):
            continue  # the arguments depend on what the component declares
        positional = [None for p in arguments if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
        try:
            own.bind(*positional)
        except TypeError as error:
            violated(f"{component.__name__}.{member}{own} does not take the contract's arguments {[p.name for p in arguments]}: {error}")


def _members(protocol: Any) -> Mapping[str, Any]:
    return dict.fromkeys(sorted(getattr(protocol, "__protocol_attrs__", None) or _annotated(protocol)))


def _annotated(protocol: Any) -> set[str]:
    found: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False):
            found |= {n for n in [*vars(base), *vars(base).get("__annotations__", {})] if not n.startswith("_")}
    return found


def _methods(protocol: Any) -> dict[str, Any]:
    return {name: value for name in _members(protocol) if inspect.isfunction(value := inspect.getattr_static(protocol, name, None))}


def _demand_refusal(action: Any, message: str) -> None:
    try:
        action()
    except Violation:
        raise
    except (ValidationError, AutoRecError, TypeError, AttributeError, ValueError):
        return
    violated(message)
