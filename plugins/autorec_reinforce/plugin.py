"""Declares the controller; torch is imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_search_strategies"]


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies of this package."""
    summary = "LSTM controller trained with REINFORCE (Williams 1992; Zoph and Le 2017)."
    return (ComponentSpec("controller", "autorec_reinforce.controller:Controller", summary),)
