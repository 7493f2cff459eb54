"""Exact rewrites: a table that the exporter stored twice (as it is, or transposed) is stored once; onnxruntime folds it back at load."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import numpy_helper

from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.serving.graph import ITEMS

__all__ = ["tie_tables", "with_items"]

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


def with_items(graph: bytes, vectors: np.ndarray) -> bytes:
    """Return a graph with one more output, `ITEMS`: a look-up of every row of a table of item vectors.

    The table is that of the graph where it holds these very numbers. So they are stored once, compressors of tables find them, and
    onnxruntime computes the output when it loads the graph.

    Args:
        vectors: float32 [N, D].
    """
    model = onnx.ModelProto.FromString(graph)
    mark = _mark(vectors)
    table = next((tensor.name for tensor in model.graph.initializer if _mark(numpy_helper.to_array(tensor)) == mark), "")
    if not table:
        table = "items.table"
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(vectors), table))
    numbers = {"items.first": 0, "items.end": len(vectors), "items.step": 1}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items())
    model.graph.node.append(onnx.helper.make_node("Range", list(numbers), ["items.all"]))
    model.graph.node.append(onnx.helper.make_node("Gather", [table, "items.all"], [ITEMS], axis=0))
    model.graph.output.append(onnx.helper.make_tensor_value_info(ITEMS, onnx.TensorProto.FLOAT, list(vectors.shape)))
    return normalise(model)


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
