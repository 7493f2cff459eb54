"""Declares the quantising compressors; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_compressors"]


@hookimpl
def autorec_compressors() -> tuple[ComponentSpec, ...]:
    """Return the compressors of this package."""
    return (
        ComponentSpec("float16", "autorec_quantize.half:Float16", "Weights stored as float16, computed in float32."),
        ComponentSpec(
            "int4-tables", "autorec_quantize.nibbles:Int4Tables", "Embedding tables in four bits with a scale and an offset a row."
        ),
        ComponentSpec("int4-weights", "autorec_quantize.weights:Int4Weights", "Large matrices in four bits with a scale a block."),
        ComponentSpec("int8-dynamic", "autorec_quantize.dynamic:DynamicInt8", "Eight-bit matrix products with scales found at run time."),
        ComponentSpec("int8-tables", "autorec_quantize.tables:Int8Tables", "Embedding tables in eight bits with one scale a row."),
        ComponentSpec("int8-weights", "autorec_quantize.stored:Int8Weights", "Weights stored in eight bits and multiplied in float32."),
    )
