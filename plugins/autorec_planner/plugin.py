"""Declares the planner; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands", "autorec_planners"]


@hookimpl
def autorec_planners() -> tuple[ComponentSpec, ...]:
    """Return the planner of this package."""
    summary = "Tries every compressor alone, predicts plans from that, builds and times the best of them, and certifies the one it takes."
    return (ComponentSpec("additive", "autorec_planner.planner:AdditivePlanner", summary, tags=("default",)),)


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommands of this package."""
    return (ComponentSpec("compress", "autorec_planner.command:compress", "Compress what a run has found for another target."),)
