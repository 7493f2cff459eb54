"""A table that both look-ups and a matrix product read is stored once, in eight bits."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["look_up", "share_tables", "untie_tables"]


def look_up(node: onnx.NodeProto, integers: str, scale: str, *, flat: bool = False, half: bool = False) -> list[onnx.NodeProto]:
    """Return the nodes that replace a row look-up: int8 [R, D] rows times scales [R, 1]; [R] where `flat`, for a list of rows.

    Args:
        half: Whether scales are stored as float16.
    """
    rows, out = node.input[1], node.output[0]
    read = f"{out}.stored" if half else f"{out}.scale"
    made = [
        helper.make_node("Gather", [integers, rows], [f"{out}.integers"], axis=0),
        helper.make_node("Gather", [scale, rows], [read], axis=0),
    ]
    if half:
        made.append(helper.make_node("Cast", [read], [f"{out}.scale"], to=onnx.TensorProto.FLOAT))
    if flat:
        return [*made, helper.make_node("DequantizeLinear", [f"{out}.integers", f"{out}.scale"], [out], axis=0)]
    made.append(helper.make_node("Cast", [f"{out}.integers"], [f"{out}.float"], to=onnx.TensorProto.FLOAT))
    return [*made, helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out])]


def share_tables(model: onnx.ModelProto, tied: dict[str, str]) -> onnx.ModelProto:
    """Let look-ups read the integers that a quantised product stores.

    Args:
        model: A graph after dynamic quantisation; the product's weights of copy `c` are `c_quantized` int8 [D, R] and `c_scale` [R].
        tied: Table float32 [R, D] → its transposed copy.

    Returns:
        The graph with the integers stored as [R, D]; the product reads them through a Transpose that onnxruntime folds at load.
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    shared = {table: turned for table, turned in tied.items() if _complete(turned, values)}
    if not shared:
        return model
    replaced = {f"{turned}_quantized" for turned in shared.values()}
    stored = [tensor for name, tensor in values.items() if name not in replaced and name not in shared]
    front: list[onnx.NodeProto] = []
    for table, turned in shared.items():
        integers = np.ascontiguousarray(numpy_helper.to_array(values[f"{turned}_quantized"]).T)
        scale = numpy_helper.to_array(values[f"{turned}_scale"]).reshape(-1, 1)
        stored += [numpy_helper.from_array(integers, f"{table}.integers"), numpy_helper.from_array(scale, f"{table}.scale")]
        front.append(helper.make_node("Transpose", [f"{table}.integers"], [f"{turned}_quantized"], perm=[1, 0]))
    nodes = [part for node in model.graph.node for part in _replaced(node, shared)]
    graph = helper.make_graph([*front, *nodes], "serving", model.graph.input, model.graph.output, stored)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


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


def _replaced(node: onnx.NodeProto, shared: dict[str, str]) -> list[onnx.NodeProto]:
    if node.op_type == "Gather" and node.input[0] in shared:
        return look_up(node, f"{node.input[0]}.integers", f"{node.input[0]}.scale")
    return [node]


def _complete(turned: str, values: dict[str, onnx.TensorProto]) -> bool:
    """Return whether the product was quantised column by column without an offset."""
    weights, scale, zero = (values.get(f"{turned}_{part}") for part in ("quantized", "scale", "zero_point"))
    if weights is None or scale is None or zero is None or list(scale.dims) != list(weights.dims)[1:]:
        return False
    return not numpy_helper.to_array(zero).any()
