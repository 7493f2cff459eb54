"""Declares the feature operations that find crosses."""

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
        ComponentSpec("rates", "autorec_crosses.rates:Rates", "Mean label of pairs of columns that tell more together than apart."),
    )
