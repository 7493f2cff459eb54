"""What goes into a graph and what comes out, as onnxruntime sees it: names, types, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
import onnxruntime

from autorec_kernel.errors import BundleError, UsageError
from autorec_kernel.records.bundle import MANIFEST, Bundle
from autorec_kernel.serving import Recommender, open_bundle
from autorec_kernel.serving.graph import ITEMS

__all__ = ["Port", "graph_of", "opened", "ports_of"]

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
    session = onnxruntime.InferenceSession(graph_of(bundle, role), options, providers=["CPUExecutionProvider"])
    return tuple(map(_port, session.get_inputs())), tuple(map(_port, session.get_outputs()))


def graph_of(bundle: Bundle, role: str) -> bytes:
    """Return the graph that answers requests: without item vectors, which depend on no request."""
    data = bundle.members[f"{role}.onnx"]
    model = onnx.ModelProto.FromString(data)
    outputs = [value for value in model.graph.output if value.name != ITEMS]
    if len(outputs) == len(model.graph.output):
        return data
    needed, nodes = {value.name for value in outputs}, list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            nodes.insert(0, node)
    stored = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    graph = onnx.helper.make_graph(nodes, model.graph.name, model.graph.input, outputs, stored)
    found = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(found.SerializeToString(deterministic=True))


def _port(told: Any) -> Port:
    if told.type not in _DTYPES:
        raise BundleError(f"{told.name!r} is a {told.type}, expected {' or '.join(_DTYPES)}")
    return Port(told.name, _DTYPES[told.type], tuple(size if isinstance(size, int) else -1 for size in told.shape))
