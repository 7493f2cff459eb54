"""Declares progressive search; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_search_strategies"]


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies of this package."""
    summary = "Simple candidates first, larger children of the best by stages (after Liu et al. 2018)."
    return (ComponentSpec("progressive", "autorec_progressive.progressive:Progressive", summary),)
