"""Declares the planner; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_planners"]


@hookimpl
def autorec_planners() -> tuple[ComponentSpec, ...]:
    """Return the planner of this package."""
    summary = "Tries every compressor alone, predicts plans from that, builds and times the best of them, and certifies the one it takes."
    return (ComponentSpec("additive", "autorec_planner.planner:AdditivePlanner", summary, tags=("default",)),)
