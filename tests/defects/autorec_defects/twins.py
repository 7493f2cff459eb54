"""Declares the sound components."""

from __future__ import annotations

from autorec_defects.catalogue import SOUND, specs
from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec


@hookimpl
def autorec_feature_ops() -> tuple[ComponentSpec, ...]:
    """Return the feature ops."""
    return specs(SOUND, "feature-op")


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Return the blocks."""
    return specs(SOUND, "model-block")


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies."""
    return specs(SOUND, "search-strategy")


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors."""
    return specs(SOUND, "compressor")
