"""Declares the cascade and its blocks; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints", "autorec_model_blocks"]


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Return the blocks of this package."""
    return (
        ComponentSpec("shortlist", "autorec_cascade.shortlist:Shortlist", "The items with the best scores of the catalogue, as rows."),
        ComponentSpec("step-rows", "autorec_cascade.steps:StepRows", "The table rows of the steps of a history."),
        ComponentSpec("rerank", "autorec_cascade.rerank:Rerank", "A score for each shortlisted item, by attention over a history."),
        ComponentSpec("merge", "autorec_cascade.merge:Merge", "Catalogue scores: the shortlist in its new order, then the others."),
        ComponentSpec("list-loss", "autorec_cascade.list_loss:ListLoss", "Cross-entropy of the chosen item in a list (Cao et al. 2007)."),
    )


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the cascade."""
    return (
        ComponentSpec(
            "reranked",
            "autorec_cascade.cascade:Reranked",
            "A closed form's shortlist, put in order by target attention.",
            tags=("recall", "later"),
        ),
    )
