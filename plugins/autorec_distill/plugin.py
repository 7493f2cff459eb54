"""Declares the distilling compressors; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec("lists", "autorec_distill.lists:Lists", "A smaller retriever of the same kind that learns what its teachers list."),
        ComponentSpec(
            "student",
            "autorec_distill.student:Student",
            "A smaller ranker of the same kind that learns what the ensemble of the search predicts (Hinton et al. 2015).",
        ),
    )
