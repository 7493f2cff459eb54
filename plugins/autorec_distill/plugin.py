"""Declares the distilling compressor; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    summary = "A smaller ranker of the same kind that learns what the ensemble of the search predicts (Hinton et al. 2015)."
    return (ComponentSpec("student", "autorec_distill.student:Student", summary),)
