"""What goes into a graph and what comes out, as onnxruntime sees it: names, types, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnxruntime

from autorec_kernel.errors import BundleError, UsageError
from autorec_kernel.records.bundle import MANIFEST, Bundle
from autorec_kernel.serving import Recommender, open_bundle

__all__ = ["Port", "opened", "ports_of"]

_DTYPES = {"tensor(int64)": "int64", "tensor(float)": "float32"}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Args:
        dtype: int64 or float32.
        shape: One entry an axis: its size, or -1 where it is free. The first is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def opened(source: Any) -> Recommender:
    """Open the bundle that is exported, golden rows checked.

    Raises:
        UsageError: This is the folder of a run, or another one without a bundle.
        BundleError: The bundle is refused.
    """
    if source.is_dir() and not (source / MANIFEST).exists():
        inner = f"name the bundle: {source / 'bundle'}" if (source / "bundle" / MANIFEST).exists() else "autorec run writes one: OUT/bundle"
        raise UsageError("this folder is no bundle", where=str(source), hint=inner)
    return Recommender(open_bundle(source))


def ports_of(bundle: Bundle, role: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return inputs and outputs of the graph, in its order; inputs that it dropped are not among them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(bundle.members[f"{role}.onnx"], options, providers=["CPUExecutionProvider"])
    return tuple(map(_port, session.get_inputs())), tuple(map(_port, session.get_outputs()))


def _port(told: Any) -> Port:
    if told.type not in _DTYPES:
        raise BundleError(f"{told.name!r} is a {told.type}, expected {' or '.join(_DTYPES)}")
    return Port(told.name, _DTYPES[told.type], tuple(size if isinstance(size, int) else -1 for size in told.shape))
