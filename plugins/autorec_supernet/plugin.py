"""Declares the evaluators that cost less than full training; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_evaluators"]


@hookimpl
def autorec_evaluators() -> tuple[ComponentSpec, ...]:
    """Return the evaluators of this package."""
    return (
        ComponentSpec(
            "inherited", "autorec_supernet.inherited:Inherited", "Trains few epochs from embedding tables that were learned before."
        ),
        ComponentSpec("one-shot", "autorec_supernet.one_shot:OneShot", "Scores candidates with weights that all of them share."),
        ComponentSpec("proxies", "autorec_supernet.proxies:Proxies", "Orders candidates by a score of the untrained network."),
    )
