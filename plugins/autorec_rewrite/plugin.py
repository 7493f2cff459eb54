"""Declares the exact rewrites; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec("first-layer", "autorec_rewrite.first:FirstLayer", "The user's half of a ranker's first layer, computed once."),
        ComponentSpec("fold", "autorec_rewrite.fold:Fold", "Constants computed, shapes shortened, equal parts kept once."),
        ComponentSpec("last-position", "autorec_rewrite.last:LastPosition", "One step of a history computed where one is read."),
        ComponentSpec("packed-inputs", "autorec_rewrite.pack:PackedInputs", "Features that stand side by side are one input."),
    )
