"""Attention of a single query without keys and values: q · (x W + b)ᵀ = (q Wᵀ) xᵀ + q b, and a (x W + b) = (a x) W + (Σ a) b.

Behind a softmax over the steps q b is gone, which moves all scores alike, and Σ a = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from autorec_rewrite.net import Net, makers, node, option, readers, with_nodes
from autorec_rewrite.probe import Shapes

__all__ = ["absorbed"]

_MOVES = ("Reshape", "Squeeze", "Transpose", "Unsqueeze")
_MASKED = -1e4  # scores below which nothing is left of a softmax's share


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """Keys or values: x · W + b, told apart by heads.

    Args:
        given: Value float32 [A, L, D].
        weights: float64 [H, D, d].
        bias: float64 [H, d].
    """

    given: str
    weights: np.ndarray
    bias: np.ndarray | None


def absorbed(net: Net, shapes: Shapes) -> Net:
    """Return the graph in which single queries multiply with the states themselves; the graph itself where there is none.

    A product counts for keys where its left side has one row of d numbers and its right side comes from x · W + b; for values where the
    left side has one row of L weights. That columns go head by head is taken for granted: the caller compares answers.
    """
    made, read = makers(net), readers(net)
    nodes: list[onnx.NodeProto] = []
    stored: dict[str, np.ndarray] = {}
    for entry in net.nodes:
        states = _states(entry, net, shapes, made, read) if entry.op_type == "MatMul" else None
        if states is None:
            nodes.append(entry)
        elif isinstance(shapes.dims[entry.input[0]][-1], int):
            alike = _softened(entry.output[0], net, shapes, read)
            nodes += _of_keys(entry, replace(states, bias=None) if alike else states, shapes, stored)
        else:
            source = made.get(entry.input[0])
            nodes += _of_values(entry, states, shapes, stored, whole=source is not None and _is_softmax(source, shapes))
    return with_nodes(net, nodes, stored) if stored else net


def _states(
    entry: onnx.NodeProto, net: Net, shapes: Shapes, made: Mapping[str, onnx.NodeProto], read: Mapping[str, Sequence[onnx.NodeProto]]
) -> _States | None:
    """Return what the right side of a product of a single row is made of."""
    left, right = (shapes.dims.get(name, ()) for name in entry.input)
    if len(left) != len(right) or len(left) not in (3, 4) or left[-2] != 1:
        return None
    heads = 1 if len(left) == 3 else right[1]
    wide = [size for size in right[-2:] if isinstance(size, int)]
    if not isinstance(heads, int) or len(wide) != 1 or len(right[-2:]) == len(wide):
        return None
    steps = next(size for size in right[-2:] if not isinstance(size, int))
    value, scale, bias = entry.input[1], 1.0, None
    while value in made and len(read.get(value, ())) == 1:
        one = made[value]
        if one.op_type in _MOVES:
            value = one.input[0]
            continue
        constant = next((array for name in one.input if (array := net.array(name)) is not None), None)
        other = next((name for name in one.input if name not in net.stored), "")
        if constant is None or not other:
            return None
        if one.op_type == "Mul" and constant.size == 1 and bias is None:
            scale, value = scale * float(constant.reshape(-1)[0]), other
        elif one.op_type == "Add" and constant.shape == (heads * wide[0],) and bias is None:
            bias, value = constant.astype(np.float64) * scale, other
        elif one.op_type == "MatMul" and one.input[0] == other and constant.ndim == 2 and constant.shape[1] == heads * wide[0]:
            size = shapes.dims.get(other, ())
            if size != (right[0], steps, constant.shape[0]):
                return None
            weights = (constant.astype(np.float64) * scale).reshape(-1, heads, wide[0]).transpose(1, 0, 2)
            return _States(other, weights, None if bias is None else bias.reshape(heads, wide[0]))
        else:
            return None
    return None


def _softened(name: str, net: Net, shapes: Shapes, read: Mapping[str, Sequence[onnx.NodeProto]]) -> bool:
    """Return whether nothing but a softmax over the last axis reads a value, with sums, masks and products by a number between them."""
    while name not in net.outputs and len(read.get(name, ())) == 1:
        one = read[name][0]
        if one.op_type == "Softmax":
            return _is_softmax(one, shapes)
        others = [array.item() for other in one.input if (array := net.array(other)) is not None and array.size == 1]
        scaled = bool(others) and (one.op_type == "Mul" or (one.op_type == "Div" and one.input[0] == name))
        masked = one.op_type == "Where" and one.input[0] != name and bool(others) and others[0] <= _MASKED
        if not (one.op_type == "Add" or scaled or masked):
            return False
        name = one.output[0]
    return False


def _is_softmax(entry: onnx.NodeProto, shapes: Shapes) -> bool:
    return entry.op_type == "Softmax" and option(entry, "axis", -1) in (-1, len(shapes.dims.get(entry.input[0], ())) - 1)


def _of_keys(entry: onnx.NodeProto, states: _States, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """Return the nodes of (q Wᵀ) xᵀ + q b under the name of the product."""
    query, out, many = entry.input[0], entry.output[0], len(shapes.dims[entry.input[0]]) == 4
    stored[f"{out}.weights"] = _float(states.weights.transpose(0, 2, 1) if many else states.weights[0].T)
    nodes = [
        node("MatMul", [query, f"{out}.weights"], f"{out}.moved"),
        node("Transpose", [states.given], f"{out}.steps", perm=[0, 2, 1]),
    ]
    nodes += _over_steps(f"{out}.moved", f"{out}.steps", f"{out}.product", stored, many=many)
    if states.bias is not None:
        stored[f"{out}.bias"] = _float(states.bias[:, :, None] if many else states.bias[0][:, None])
        nodes.append(node("MatMul", [query, f"{out}.bias"], f"{out}.offset"))
        nodes.append(node("Add", [f"{out}.product", f"{out}.offset"], f"{out}.sum"))
    nodes[-1].output[0] = out
    return nodes


def _of_values(
    entry: onnx.NodeProto, states: _States, shapes: Shapes, stored: dict[str, np.ndarray], *, whole: bool
) -> list[onnx.NodeProto]:
    """Return the nodes of (a x) W + (Σ a) b under the name of the product; Σ a = 1 where `whole`."""
    weights, out, many = entry.input[0], entry.output[0], len(shapes.dims[entry.input[0]]) == 4
    stored[f"{out}.weights"] = _float(states.weights if many else states.weights[0])
    nodes = _over_steps(weights, states.given, f"{out}.mixed", stored, many=many)
    nodes.append(node("MatMul", [f"{out}.mixed", f"{out}.weights"], f"{out}.product"))
    if states.bias is not None:
        stored[f"{out}.bias"] = _float(states.bias[:, None] if many else states.bias)
        if not whole:
            stored["axis.last"] = np.array([-1], np.int64)
            nodes.append(node("ReduceSum", [weights, "axis.last"], f"{out}.total"))
            nodes.append(node("Mul", [f"{out}.total", f"{out}.bias"], f"{out}.offset"))
        nodes.append(node("Add", [f"{out}.product", f"{out}.bias" if whole else f"{out}.offset"], f"{out}.sum"))
    nodes[-1].output[0] = out
    return nodes


def _over_steps(left: str, right: str, out: str, stored: dict[str, np.ndarray], *, many: bool) -> list[onnx.NodeProto]:
    """Return the product of one row a head, [A, H, 1, n] or [A, 1, n], with a matrix [A, n, m] that all heads share."""
    if not many:
        return [node("MatMul", [left, right], out)]
    stored["axis.query"] = np.array([2], np.int64)
    return [
        node("Squeeze", [left, "axis.query"], f"{out}.heads"),
        node("MatMul", [f"{out}.heads", right], f"{out}.rows"),
        node("Unsqueeze", [f"{out}.rows", "axis.query"], out),
    ]


def _float(value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value, dtype=np.float32)
