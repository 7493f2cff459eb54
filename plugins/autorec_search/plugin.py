"""Declares random search and `auto`; nothing heavy is imported until they are used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_search_strategies"]


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies of this package."""
    return (
        ComponentSpec("random", "autorec_search.random_search:RandomSearch", "Uniform draws without repeats.", tags=("fallback",)),
        ComponentSpec(
            "auto",
            "autorec_search.auto:AutoStrategy",
            "Picks another strategy by the profile of the space and says why.",
            tags=("adviser",),
        ),
    )
