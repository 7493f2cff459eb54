"""Declares the text encoder; tokenizers and onnxruntime are imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_feature_ops"]


@hookimpl
def autorec_feature_ops() -> tuple[ComponentSpec, ...]:
    """Return the feature operations of this package."""
    return (
        ComponentSpec(
            "encoder",
            "autorec_text.meaning:Meaning",
            "What a text means, by a sentence encoder in the folder that AUTOREC_TEXT_MODEL names.",
            requires=("tokenizers",),
            extra="text",
        ),
    )
