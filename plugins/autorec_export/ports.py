"""What goes into a graph and what comes out, as onnxruntime sees it: names, types, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from autorec_kernel.errors import BundleError
from autorec_kernel.serving import Recommender, open_bundle
from autorec_kernel.serving.graph import ITEMS, PACKED

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
        BundleError: There is none here, or it is refused.
    """
    return Recommender(open_bundle(source))


def ports_of(recommender: Recommender) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return inputs and outputs of the graph, in its order; inputs that it dropped are not among them.

    Raises:
        BundleError: onnxruntime cannot load the graph with an input for each feature.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph_of(recommender), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, undocumented classes
        raise BundleError(f"the graph cannot be exported: {str(error)[:300]}", where=f"{recommender.role}.onnx") from error
    return tuple(map(_port, session.get_inputs())), tuple(map(_port, session.get_outputs()))


def graph_of(recommender: Recommender) -> bytes:
    """Return the graph that answers requests: without item vectors, which depend on no request, and with an input for each feature."""
    model = onnx.ModelProto.FromString(recommender.bundle.members[f"{recommender.role}.onnx"])
    data = _unpacked(model, recommender).SerializeToString(deterministic=True)
    outputs = [value for value in model.graph.output if value.name != ITEMS]
    if len(outputs) == len(model.graph.output):
        return bytes(data)
    needed, nodes = {value.name for value in outputs}, list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            nodes.insert(0, node)
    stored = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    graph = onnx.helper.make_graph(nodes, model.graph.name, model.graph.input, outputs, stored)
    found = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(found.SerializeToString(deterministic=True))


def _unpacked(model: onnx.ModelProto, recommender: Recommender) -> onnx.ModelProto:
    """Put an input for each feature in the place of inputs that hold several, which only a `Graph` fills."""
    widths = {feature.name: feature.width for feature in recommender.state.schema.features}
    inputs, nodes = list[onnx.ValueInfoProto](), list[onnx.NodeProto]()
    for value in model.graph.input:
        names = [value.name] if value.name in widths else value.name.split(PACKED)
        kind = value.type.tensor_type
        if len(names) == 1:
            inputs.append(value)
            continue
        ids, batch = kind.elem_type == onnx.TensorProto.INT64, kind.shape.dim[0].dim_param
        inputs += [onnx.helper.make_tensor_value_info(name, kind.elem_type, [batch] if ids else [batch, widths[name]]) for name in names]
        columns = [f"{value.name}{PACKED}{place}" for place in range(len(names))] if ids else names
        if ids:
            nodes += [onnx.helper.make_node("Unsqueeze", [name, PACKED], [made]) for name, made in zip(names, columns, strict=True)]
        nodes.append(onnx.helper.make_node("Concat", columns, [value.name], axis=1))
    if nodes:
        if any(node.op_type == "Unsqueeze" for node in nodes):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), PACKED))
        rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        model.graph.ClearField("node")
        model.graph.ClearField("input")
        model.graph.node.extend([*nodes, *rest])
        model.graph.input.extend(inputs)
    return model


def _port(told: Any) -> Port:
    if told.type not in _DTYPES:
        raise BundleError(f"{told.name!r} is a {told.type}, expected {' or '.join(_DTYPES)}")
    return Port(told.name, _DTYPES[told.type], tuple(size if isinstance(size, int) else -1 for size in told.shape))
