"""Which blueprint uses which block: every installed blueprint is decoded on schemas of many shapes, with every value of its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.space import Domain, Under
from autorec_kernel.testing.configs import corner, variants

__all__ = ["block_users", "options_one_by_one", "share_of_shared"]


def block_users(kernel: Any) -> dict[str, tuple[str, ...]]:
    """Return model block id → ids of the blueprints that use it, sorted, for every usable block of the kernel.

    A blueprint uses a block when some value of one of its options, or of two of which the first decides on blocks by itself, puts the
    block into its graph on some schema; training-only nodes count. A blueprint that cannot be loaded or decoded uses nothing.
    """
    users: dict[str, set[str]] = {row.id: set() for row in kernel.components("model-block") if row.usable}
    for row in kernel.components("blueprint"):
        for block in _blocks_of(kernel, row.id) if row.usable else ():
            users.setdefault(block, set()).add(row.id)
    return {block: tuple(sorted(found)) for block, found in sorted(users.items())}


def share_of_shared(users: Mapping[str, tuple[str, ...]]) -> float:
    """Return the share of blocks that two or more blueprints use; 0 without blocks."""
    return sum(len(found) >= 2 for found in users.values()) / max(1, len(users))


def options_one_by_one(kind: type[ComponentConfig]) -> Iterator[ComponentConfig]:
    """Yield the configs of `variants`, then the defaults with one option changed at a time: choices, flags, ends of domains, half-ways."""
    yield from variants(kind)
    yield from (config for change in _changes(kind) if (config := _changed(kind, change)) is not None)


def _changes(kind: type[ComponentConfig]) -> list[dict[str, Any]]:
    """Return the values but for the default that each option is tried with, one option each."""
    found = []
    for name, info in kind.model_fields.items():
        domains = [part for part in info.metadata if isinstance(part, Domain)]
        values = (*_closed(info.annotation), *(value for domain in domains for value in _ends(domain)), *_between(info))
        told = {repr(value): value for value in values}
        told.pop(repr(info.get_default(call_default_factory=True)), None)
        found += [{name: value} for value in told.values()]
    return found


def _changed(kind: type[ComponentConfig], change: Mapping[str, Any]) -> ComponentConfig | None:
    """Return the defaults but for the change; None where the class refuses it."""
    try:
        return kind(**change)
    except (ValidationError, AutoRecError):
        return None


def _awake(kind: type[ComponentConfig], change: Mapping[str, Any]) -> bool:
    """Return whether every changed option counts: one that is `Under` a value of another does under that value alone."""

    def counts(name: str) -> bool:
        info = kind.model_fields[name]
        under = next((mark for mark in info.metadata if isinstance(mark, Under)), None)
        if under is None:
            return True
        value = change.get(under.field, kind.model_fields[under.field].get_default(call_default_factory=True))
        return value in under.values and counts(under.field)

    return all(map(counts, change))


def _blocks_of(kernel: Any, blueprint: str) -> set[str]:
    from autorec_kernel.testing.model_cases import schemas

    given = schemas()
    try:
        component = kernel.load("blueprint", blueprint)
        plain = _used(component, _changed(component.Config, {}), given)
        found = plain.union(*(_used(component, config, given) for config in variants(component.Config)))
        every = _changes(component.Config)
    except AutoRecError:
        return set()
    changes = [change for change in every if _awake(component.Config, change)]
    alone = [_used(component, _changed(component.Config, change), given) for change in changes]
    deciding = [change for change, used in zip(changes, alone, strict=True) if used - plain]
    found = found.union(*alone)
    suited = {name: schema for name, schema in given.items() if any(name == one for one, _ in found)}
    together = (first | second for first in deciding for second in every if first.keys() != second.keys())
    heard = (pair for pair in together if _awake(component.Config, pair))
    pairs = {repr(sorted(pair.items(), key=itemgetter(0))): pair for pair in heard}  # each once
    found = found.union(*(_used(component, _changed(component.Config, pair), suited) for pair in pairs.values()))
    return {_id_of(kernel, name) for _, name in found}


def _used(component: Any, config: ComponentConfig | None, given: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (schema, block) of the graphs of a config."""
    if config is None:
        return set()
    return {(name, block) for name, schema in given.items() for block in _graph_blocks(component, config, schema)}


def _graph_blocks(component: Any, config: ComponentConfig, schema: Any) -> set[str]:
    """Return the blocks of one graph; none where the data does not suit the blueprint, or the blueprint is broken."""
    try:
        return {node.block for node in component(config).architecture(schema).nodes if not node.is_source}
    except Exception:
        return set()


def _id_of(kernel: Any, name: str) -> str:
    try:
        return str(kernel.find("model-block", name).id)
    except AutoRecError:
        return name


def _closed(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a closed set: literals and flags, also inside a union."""
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(value for part in get_args(annotation) for value in _closed(part))
    return ()


def _between(info: FieldInfo) -> tuple[float, ...]:
    """Return a number between the bounds of a fraction that the search leaves alone, or 1 above its lower one."""
    if info.annotation is not float or any(isinstance(part, Domain) for part in info.metadata):
        return ()
    bounds = {name: getattr(part, name) for part in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is None:
        return ()
    return ((low + 1.0) if high is None else 0.5 * (low + high),)


def _ends(domain: Domain) -> tuple[Any, ...]:
    return tuple(getattr(domain, "options", (corner(domain, high=False), corner(domain, high=True))))
