"""Declares the local workers; nothing heavy is imported until they are used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_executors"]


@hookimpl
def autorec_executors() -> tuple[ComponentSpec, ...]:
    """Return the executors of this package."""
    summary = "Processes on this machine that can be killed and replaced."
    return (ComponentSpec("local", "autorec_workers.local:LocalWorkers", summary, tags=("default",)),)
