"""Declares the pruning compressor; torch-pruning is imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec(
            "magnitude",
            "autorec_prune.magnitude:MagnitudePruning",
            "Structured pruning: whole units of hidden layers with the smallest weights go.",
            requires=("torch_pruning",),
            extra="prune",
        ),
    )
