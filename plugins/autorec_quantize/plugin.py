"""Declares the quantising compressors; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec("int8-dynamic", "autorec_quantize.dynamic:DynamicInt8", "Eight-bit matrix products with scales found at run time."),
        ComponentSpec("int8-tables", "autorec_quantize.tables:Int8Tables", "Embedding tables in eight bits with one scale a row."),
    )
