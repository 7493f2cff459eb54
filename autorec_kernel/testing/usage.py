"""Which blueprint uses which block: every installed blueprint is decoded on schemas of many shapes, with every value of its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.space import Domain
from autorec_kernel.testing.configs import corner, variants

__all__ = ["block_users", "options_one_by_one", "share_of_shared"]


def block_users(kernel: Any) -> dict[str, tuple[str, ...]]:
    """Return model block id → ids of the blueprints that use it, sorted, for every usable block of the kernel.

    A blueprint uses a block when some value of one of its options, on some schema, puts the block into its graph; training-only nodes
    count. A blueprint that cannot be loaded or decoded uses nothing.
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
    """Yield the configs of `variants`, then the defaults with one option changed at a time: choices, flags and ends of domains."""
    yield from variants(kind)
    for name, info in kind.model_fields.items():
        domains = [part for part in info.metadata if isinstance(part, Domain)]
        for value in (*_closed(info.annotation), *(value for domain in domains for value in _ends(domain))):
            try:
                yield kind(**{name: value})
            except (ValidationError, AutoRecError):
                continue


def _blocks_of(kernel: Any, blueprint: str) -> set[str]:
    from autorec_kernel.testing.model_cases import schemas

    try:
        component = kernel.load("blueprint", blueprint)
        configs = {config.model_dump_json(): config for config in options_one_by_one(component.Config)}
    except AutoRecError:
        return set()
    named = {block for config in configs.values() for schema in schemas().values() for block in _graph_blocks(component, config, schema)}
    return {_id_of(kernel, name) for name in named}


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


def _ends(domain: Domain) -> tuple[Any, ...]:
    return tuple(getattr(domain, "options", (corner(domain, high=False), corner(domain, high=True))))
