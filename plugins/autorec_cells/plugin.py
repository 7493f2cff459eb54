"""Declares the free cells; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints"]


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the cells; `free` keeps them out of every search space but the full one, unless they are asked for by name."""
    return (
        ComponentSpec(
            "free-ranker", "autorec_cells.ranker:FreeRanker", "A ranker of up to six free blocks.", tags=("ranking", "free", "later")
        ),
        ComponentSpec(
            "free-retriever",
            "autorec_cells.retriever:FreeRetriever",
            "A retriever of up to six free blocks.",
            tags=("recall", "free", "later"),
        ),
    )
