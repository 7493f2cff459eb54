"""Declares the commands after a search; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands"]


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommands of this package."""
    return (ComponentSpec("replay", "autorec_studies.replay_command:replay", "Run the search of a run again, and compare."),)
