"""Exact rewrites: a table that the exporter stored twice (as it is, or transposed) is stored once; onnxruntime folds it back at load."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import numpy_helper

from autorec_kernel.deploy.normalise import normalise

__all__ = ["tie_tables", "untie_tables"]

_SMALL = 1024  # elements below which a second copy is cheaper than a node


def tie_tables(graph: bytes) -> bytes:
    """Return the same function with every repeated or transposed copy of a large initialiser replaced by the original."""
    model = onnx.ModelProto.FromString(graph)
    known: dict[str, tuple[str, bool]] = {}
    kept: list[onnx.TensorProto] = []
    aliases: dict[str, str] = {}
    turned: list[onnx.NodeProto] = []
    for tensor in sorted(model.graph.initializer, key=lambda entry: entry.name):
        value = numpy_helper.to_array(tensor)
        same = known.get(_mark(value)) if value.size >= _SMALL else None
        if same is None:
            kept.append(tensor)
            known.setdefault(_mark(value), (tensor.name, False))
            if value.ndim == 2:
                known.setdefault(_mark(value.T), (tensor.name, True))
        elif same[1]:
            turned.append(onnx.helper.make_node("Transpose", [same[0]], [tensor.name], perm=[1, 0]))
        else:
            aliases[tensor.name] = same[0]
    if not (aliases or turned):
        return graph
    return _rebuilt(model, kept, turned, aliases)


def untie_tables(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every transposed initialiser is an initialiser again (what quantisers look for)."""
    copy: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    values = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes = []
    for node in copy.graph.node:
        if node.op_type == "Transpose" and node.input[0] in values:
            perm = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), None)
            turned = np.ascontiguousarray(np.transpose(numpy_helper.to_array(values[node.input[0]]), perm))
            copy.graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        else:
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    copy.graph.ClearField("node")
    copy.graph.node.extend(copies)
    used = {name for node in copy.graph.node for name in node.input} | {value.name for value in copy.graph.output}
    left = [onnx.TensorProto.FromString(t.SerializeToString()) for t in copy.graph.initializer if t.name in used]
    copy.graph.ClearField("initializer")
    copy.graph.initializer.extend(left)
    return copy


def _mark(value: np.ndarray) -> str:
    plain = np.ascontiguousarray(value)
    return hashlib.sha256(f"{plain.dtype}{plain.shape}".encode() + plain.tobytes()).hexdigest()


def _rebuilt(model: onnx.ModelProto, kept: list[onnx.TensorProto], turned: list[onnx.NodeProto], aliases: dict[str, str]) -> bytes:
    nodes = [*turned, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node)]
    for node in nodes:
        node.input[:] = [aliases.get(name, name) for name in node.input]
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    model.graph.ClearField("node")
    model.graph.ClearField("initializer")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    return normalise(model)
