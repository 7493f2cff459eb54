"""What the compressors of this package that work on graphs share: reading one, putting another in its place, dropping what nobody reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.records.model import CompressedModel

__all__ = ["graph_of", "is_look_up", "option", "readers_of", "rebuilt", "smaller"]


def graph_of(model: CompressedModel) -> onnx.ModelProto:
    """Return a parsed copy of the model's graph.

    Raises:
        NotApplicable: It has none yet.
    """
    if model.graph is None:
        raise NotApplicable("the model has no exported graph yet")
    found: onnx.ModelProto = onnx.ModelProto.FromString(model.graph)
    return found


def smaller(model: CompressedModel, graph: onnx.ModelProto) -> CompressedModel:
    """Return the model with another graph.

    Raises:
        NotApplicable: It has as many bytes or more.
    """
    before, data = len(model.graph or b""), normalise(graph)
    if len(data) >= before:
        raise NotApplicable(f"the graph grew from {before} to {len(data)} bytes")
    return replace(model, graph=data)


def rebuilt(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], stored: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return a graph with the inputs and outputs of `model`, and of these nodes, its initialisers and `stored` what is read.

    An initialiser that one of the nodes computes goes.
    """
    wanted = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(list(nodes)):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    wanted -= {name for node in kept for name in node.output}
    tensors = [*model.graph.initializer, *(numpy_helper.from_array(value, name) for name, value in stored.items())]
    read = [tensor for tensor in tensors if tensor.name in wanted]
    graph = helper.make_graph(kept[::-1], "serving", model.graph.input, model.graph.output, read)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def readers_of(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return value → the nodes that read it."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def is_look_up(node: onnx.NodeProto, table: str) -> bool:
    """Return whether a node reads rows of this table, and reads it for nothing else."""
    return node.op_type == "Gather" and list(node.input).count(table) == 1 and node.input[0] == table and not option(node, "axis", 0)


def option(node: onnx.NodeProto, name: str, default: object) -> object:
    """Return an attribute of a node."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
