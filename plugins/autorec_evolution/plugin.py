"""Declares the evolutionary strategy; DEAP is imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_search_strategies"]


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies of this package."""
    summary = "Aging evolution for one objective, NSGA-II for several (Real et al. 2019; Deb et al. 2002)."
    return (ComponentSpec("evolution", "autorec_evolution.evolution:Evolution", summary, requires=("deap",), extra="evolution"),)
