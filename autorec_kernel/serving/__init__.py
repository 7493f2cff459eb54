"""Bundle → answers, with numpy and onnxruntime alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autorec_kernel.serving.answer import Answer as Answer
    from autorec_kernel.serving.answer import Prediction as Prediction
    from autorec_kernel.serving.recommender import Recommender as Recommender
    from autorec_kernel.serving.verify import open_bundle as open_bundle
    from autorec_kernel.serving.verify import verify_bundle as verify_bundle

_HOMES = {"Answer": "answer", "Prediction": "answer", "Recommender": "recommender", "open_bundle": "verify", "verify_bundle": "verify"}

__all__ = ["Answer", "Prediction", "Recommender", "open_bundle", "verify_bundle"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): verifying hashes needs no onnxruntime."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"autorec_kernel.serving.{_HOMES[name]}"), name)
