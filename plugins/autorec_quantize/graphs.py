"""What every compressor of this package does with a graph: find its tables, replace their look-ups, and insist that bytes shrank."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.records.model import CompressedModel

__all__ = ["graph_of", "is_look_up", "looked_up", "rebuilt", "smaller", "widened", "with_look_ups"]

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
Arrays = Mapping[str, np.ndarray]
LookUp = Callable[[onnx.NodeProto], list[onnx.NodeProto]]


def graph_of(model: CompressedModel) -> onnx.ModelProto:
    """Return a parsed copy of the model's graph.

    Raises:
        NotApplicable: It has none yet.
    """
    if model.graph is None:
        raise NotApplicable("the model has no exported graph yet")
    found: onnx.ModelProto = onnx.ModelProto.FromString(model.graph)
    return found


def smaller(model: CompressedModel, graph: bytes) -> CompressedModel:
    """Return the model with another graph.

    Raises:
        NotApplicable: It has as many bytes or more.
    """
    before = len(model.graph or b"")
    if len(graph) >= before:
        raise NotApplicable(f"the graph grew from {before} to {len(graph)} bytes")
    return replace(model, graph=graph)


def rebuilt(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], stored: Iterable[onnx.TensorProto]) -> onnx.ModelProto:
    """Return a graph with the inputs and outputs of `model`, and these nodes and initialisers."""
    graph = helper.make_graph(list(nodes), "serving", model.graph.input, model.graph.output, list(stored))
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def is_look_up(node: onnx.NodeProto) -> bool:
    """Return whether a node reads whole rows."""
    return node.op_type == "Gather" and all(entry.i == 0 for entry in node.attribute if entry.name == "axis")


def looked_up(model: onnx.ModelProto, smallest: int, narrowest: int) -> dict[str, onnx.TensorProto]:
    """Return the tables float32 or float16 [R, D], D ≥ `narrowest`, of `smallest` numbers or more, that nothing but look-ups reads.

    Those that hold a number that is not finite are left out.
    """
    other, read = {value.name for value in model.graph.output}, set[str]()
    for node in model.graph.node:
        plain = is_look_up(node)
        read.update(node.input[:1] if plain else ())
        other.update(node.input[1:] if plain else node.input)
    floats = [t for t in model.graph.initializer if t.data_type in FLOATS and len(t.dims) == 2]
    large = [t for t in floats if t.dims[0] * t.dims[1] >= smallest and t.dims[1] >= narrowest]
    alone = [tensor for tensor in large if tensor.name in read - other]
    return {tensor.name: tensor for tensor in alone if np.isfinite(numpy_helper.to_array(tensor)).all()}


def with_look_ups(model: onnx.ModelProto, tables: Collection[str], stored: Arrays, look_up: LookUp) -> onnx.ModelProto:
    """Return the graph without the initialisers `tables`, with those of `stored`, and with `look_up(node)` in place of each row look-up.

    What a look-up of a float16 table becomes is float32 at once; the Cast that exports put right behind it has nothing left to do, and
    onnxruntime drops it.
    """
    nodes = [part for node in model.graph.node for part in (look_up(node) if is_look_up(node) and node.input[0] in tables else [node])]
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in tables]
    return rebuilt(model, nodes, [*kept, *(numpy_helper.from_array(value, name) for name, value in stored.items())])


def widened(model: onnx.ModelProto, smallest: int) -> onnx.ModelProto:
    """Return the graph with matrices of `smallest` numbers or more that are stored as float16 behind a Cast in float32 again.

    Quantisers look for float32 initialisers as inputs of a product.
    """
    halves = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16 and int(np.prod(t.dims)) >= smallest}
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] in halves}
    if not casts:
        return model
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node if node.output[0] not in casts]
    for node in nodes:
        node.input[:] = [casts.get(name, name) for name in node.input]
    wide = set(casts.values())
    values = {name: numpy_helper.to_array(halves[name]).astype(np.float32) for name in wide}
    stored = [numpy_helper.from_array(values[t.name], t.name) if t.name in wide else t for t in model.graph.initializer]
    return rebuilt(model, nodes, stored)
