"""The kernel of one invocation: built from the global options when a command first asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import typer

from autorec_kernel.cli.output import note
from autorec_kernel.errors import UnknownNameError
from autorec_kernel.registry.entrypoints import normalized

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["Host", "host_of", "kernel_of"]


@dataclass
class Host:
    """The global options and, once it is used, the kernel.

    Args:
        allowed: The only plugins to load; None = all that are installed.
        blocked: Plugins not to load.
    """

    allowed: tuple[str, ...] | None = None
    blocked: tuple[str, ...] = ()

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel.

        Raises:
            UnknownNameError: A plugin of `allowed` is not installed.
        """
        from autorec_kernel.kernel import Kernel

        kernel = Kernel.discover(blocked=self.blocked, allowed=self.allowed)
        known = {name for row in kernel.plugins() for name in (row.name, row.distribution, f"{row.distribution}:{row.name}")}
        for name in {normalized(name) for name in self.blocked} - {normalized(name) for name in known}:
            note(f"--block {name}: no plugin of this name is installed")
        for name in self.allowed or ():
            if name not in known:
                raise UnknownNameError("plugin", name, known, hint="autorec plugins list")
        return kernel


def host_of(context: typer.Context) -> Host:
    """Return the host of an invocation, made of the root's options when it is first asked for (before the root's callback runs)."""
    root = context.find_root()
    if not isinstance(root.obj, Host):
        named = root.params.get("plugins")
        allowed = None if named is None else tuple(name.strip() for name in named.split(",") if name.strip())
        root.obj = Host(() if root.params.get("no_plugins") else allowed, tuple(root.params.get("block") or ()))
    return root.obj


def kernel_of(context: typer.Context) -> Kernel:
    """Return the kernel of an invocation."""
    return host_of(context).kernel
