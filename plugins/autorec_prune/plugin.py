"""Declares the pruning compressors; torch-pruning and onnx are imported when one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec("history", "autorec_prune.history:RecentSteps", "Histories are read from their latest steps on."),
        ComponentSpec(
            "magnitude",
            "autorec_prune.magnitude:MagnitudePruning",
            "Structured pruning: whole units of hidden layers with the smallest weights go.",
            requires=("torch_pruning",),
            extra="prune",
        ),
        ComponentSpec("sparse-items", "autorec_prune.sparse:SparseItems", "Item-item matrices keep the largest entries of each row."),
        ComponentSpec("tail-rows", "autorec_prune.tail:TailRows", "Rarely read rows of embedding tables go; their ids share what is left."),
        ComponentSpec("unstructured", "autorec_prune.unstructured:Unstructured", "The smallest weights become zeros of one bit each."),
        ComponentSpec(
            "width", "autorec_prune.width:WidthPruning", "Columns of shared tables, streams and recurrent states with small weights go."
        ),
    )
