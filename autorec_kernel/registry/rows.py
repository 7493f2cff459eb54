"""What the registry answers with: one row a plugin, one row a component, each with a status and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ComponentRow", "PluginRow", "Status"]

Status = Literal["ok", "unavailable", "broken", "disabled", "blocked"]


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One plugin that was found.

    Args:
        name: The entry point's name, or `distribution:name` where several distributions claim it.
        distribution, version: The pip package it came from; empty for a plugin handed to `Kernel(plugins=...)`.
        module: The declaration module.
        api: Versions of the plugin API it was written for.
        status: ok, broken (see `reason`), disabled (its API range) or blocked (by the host).
        warnings: What is odd but did not stop it.
        components: How many components it declared.
    """

    name: str
    distribution: str = ""
    version: str = ""
    module: str = ""
    api: tuple[int, ...] = (1,)
    status: Status = "ok"
    reason: str = ""
    warnings: tuple[str, ...] = ()
    components: int = 0


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One declared component.

    Args:
        id: `plugin/name`, unique within its kind.
        status: ok, or unavailable when a package of `requires` is missing.
        install: The command that makes an unavailable component available.
    """

    id: str
    kind: str
    plugin: str
    name: str
    summary: str
    target: str
    status: Status = "ok"
    reason: str = ""
    install: str = ""
    requires: tuple[str, ...] = ()
    extra: str = ""
    tags: tuple[str, ...] = ()
    distribution: str = ""
    version: str = ""

    @property
    def usable(self) -> bool:
        """Whether the component can be loaded."""
        return self.status == "ok"
