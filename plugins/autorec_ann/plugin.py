"""Declares the index; faiss is imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_indexes"]


@hookimpl
def autorec_indexes() -> tuple[ComponentSpec, ...]:
    """Return the indexes of this package."""
    return (
        ComponentSpec(
            "inverted-file",
            "autorec_ann.inverted:InvertedFile",
            "Items in cells of one byte a dimension; a query reads the cells whose items may score highest.",
            requires=("faiss",),
            extra="ann",
        ),
    )
