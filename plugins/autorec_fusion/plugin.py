"""Declares the fusions and the block they are joined by; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints", "autorec_model_blocks"]


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Return the block of this package."""
    return (ComponentSpec("blend-scores", "autorec_fusion.blend:BlendScores", "Weighted sum of standardised scores of one catalogue."),)


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the fusions; the one without gradients is quick, the other one is among the first candidates of every run."""
    return (
        ComponentSpec(
            "learned", "autorec_fusion.retrievers:LearnedFusion", "A closed form and a trained sequence model, fused.", tags=("recall",)
        ),
        ComponentSpec("popular", "autorec_fusion.retrievers:PopularFusion", "A closed form and popularity, fused.", tags=("recall",)),
        ComponentSpec("solved", "autorec_fusion.retrievers:SolvedFusion", "Two closed forms, fused.", tags=("recall",)),
    )
