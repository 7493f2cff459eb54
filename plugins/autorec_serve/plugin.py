"""Declares `autorec serve`; fastapi and the rest are imported when it runs."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands"]


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommand of this package."""
    summary = "Answer requests from a bundle over HTTP."
    return (ComponentSpec("serve", "autorec_serve.command:serve", summary, requires=("fastapi",), extra="serve"),)
