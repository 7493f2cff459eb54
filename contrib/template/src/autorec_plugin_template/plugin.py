"""What this package declares. Only declarations are imported here: components load when they are first used."""

from __future__ import annotations

from autorec_kernel import ComponentSpec, hookimpl

__all__ = ["autorec_model_blocks"]


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Declare the blocks of this package."""
    return (ComponentSpec("gate", "autorec_plugin_template.gate:Gate", "A linear layer whose units are gated (Dauphin et al. 2017)."),)
