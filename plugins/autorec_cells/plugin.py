"""Declares the free cells and the blocks that only they need; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints", "autorec_model_blocks"]


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


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Return the blocks of this package."""
    return (
        ComponentSpec("lstm", "autorec_cells.recurrent:Lstm", "Long short-term memory over a history (Hochreiter and Schmidhuber 1997)."),
        ComponentSpec("running-mean", "autorec_cells.recurrent:RunningMean", "Each step's mean of the steps so far."),
        ComponentSpec("add-steps", "autorec_cells.adding:AddSteps", "The sum of sequences, step by step."),
        ComponentSpec("add-fields", "autorec_cells.adding:AddFields", "The sum of sets of fields, field by field."),
        ComponentSpec("split-fields", "autorec_cells.cutting:SplitFields", "A vector as several fields, by one affine layer."),
        ComponentSpec("mix-fields", "autorec_cells.cutting:MixFields", "Few fields that are weighted sums of many."),
    )
