"""Targets: the three that have names, profiles in files, and what a recipe changes of them. No torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig, parse_config
from autorec_kernel.contracts.deploy import Target
from autorec_kernel.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from autorec_kernel.recipe import Recipe

__all__ = ["TARGETS", "read_profile", "target_named", "target_of"]

TARGETS: Mapping[str, Target] = {
    "device": Target("device", max_bytes=16 << 20, max_latency_ms=20.0, max_memory=1 << 30, max_drop=0.01),
    "edge": Target("edge", max_bytes=64 << 20, max_latency_ms=50.0, max_memory=2 << 30, max_drop=0.005, batch=16),
    "cloud": Target("cloud", max_bytes=100_000_000, max_latency_ms=1000.0, max_memory=8 << 30, max_drop=0.001, prefer="quality", batch=64),
}


class _Profile(ComponentConfig):
    """The keys of a profile file; what is left out is the base's."""

    name: str | None = Field(None, min_length=1)
    base: Literal["device", "edge", "cloud"] = "cloud"
    max_bytes: int | None = Field(None, ge=0)
    max_latency_ms: float | None = Field(None, ge=0)
    max_drop: float | None = Field(None, ge=0, lt=1)
    max_doubt: float | None = Field(None, gt=0, le=1)
    max_memory: int | None = Field(None, ge=0)
    threads: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)
    prefer: Literal["bytes", "quality"] | None = None


def target_named(name: str) -> Target:
    """Return the limits of a target.

    Raises:
        UnknownNameError: No target is called so.
    """
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS, hint="device, edge, cloud, or a profile file that ends in .toml")
    return TARGETS[name]


def read_profile(path: Path) -> dict[str, Any]:
    """Return the limits of a profile file, whole.

    Raises:
        UsageError: It cannot be read, or a key or value is wrong.
    """
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        hint = "a target is device, edge, cloud, or a TOML file with limits such as max_bytes = 4000000"
        raise UsageError(f"cannot read the profile of a target: {error}", where=str(path), hint=hint) from error
    found = parse_config(_Profile, stated, where=str(path)).model_dump(exclude={"base"}, exclude_none=True)
    base = target_named(stated.get("base", "cloud"))
    return asdict(replace(base, **{"name": path.stem, **found}))


def target_of(recipe: Recipe) -> Target:
    """Return the target of a recipe with the limits that it changes."""
    base = Target(**recipe.profile) if recipe.profile else target_named(recipe.target)
    stated: dict[str, Any] = {
        "max_bytes": int(recipe.max_bytes),
        "max_latency_ms": recipe.max_latency_ms,
        "max_drop": recipe.max_drop,
        "threads": recipe.serve_threads,
        "batch": recipe.serve_batch,
    }
    return replace(base, **{name: value for name, value in stated.items() if value or (name == "max_drop" and value is not None)})
