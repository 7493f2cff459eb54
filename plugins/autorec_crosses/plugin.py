"""Declares the feature operation that finds crosses."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_feature_ops"]


@hookimpl
def autorec_feature_ops() -> tuple[ComponentSpec, ...]:
    """Return the declarations."""
    return (
        ComponentSpec(
            "crosses",
            "autorec_crosses.crosses:Crosses",
            "Combinations of columns that tell more of the label together than apart.",
        ),
    )
