"""Declares the preset of the NASRec tutorial; nothing heavy is imported until it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_presets"]


@hookimpl
def autorec_presets() -> tuple[ComponentSpec, ...]:
    """Return the presets of this package."""
    return (
        ComponentSpec("tutorial", "autorec_nasrec.options:tutorial", "A search over ratings with the settings of the NASRec tutorial."),
    )
