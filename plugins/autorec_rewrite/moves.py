"""Small identities: two nodes that undo each other, or do what one node can do. None of them changes a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper

from autorec_rewrite.joins import joined, nested
from autorec_rewrite.masks import is_logical, masked_late, row_of_triangle
from autorec_rewrite.net import Net, node, option
from autorec_rewrite.probe import Shapes

__all__ = ["MOVES", "Move", "offset"]

Made = Mapping[str, onnx.NodeProto]
_ALONE = ("Abs", "Add", "Div", "Exp", "Log", "Mul", "Neg", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh")  # work on each number for itself
Move = Callable[[onnx.NodeProto, Made, Net, Shapes, dict[str, np.ndarray]], list[onnx.NodeProto] | str | None]


def _picked(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return a Squeeze for a Gather of the one index of an axis."""
    index = net.array(entry.input[1]) if entry.op_type == "Gather" else None
    sizes = shapes.dims.get(entry.input[0]) if index is not None and index.ndim == 0 else None
    if sizes is None:
        return None
    axis = option(entry, "axis", 0) % len(sizes)
    if sizes[axis] != 1:
        return None
    name = f"whole.1.{axis}"
    stored[name] = np.array([axis], np.int64)
    return [node("Squeeze", [entry.input[0], name], entry.output[0])]


def _dropped(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return one node for a reduction that keeps the axes which a Squeeze drops; nobody else reads what it kept."""
    before = made.get(entry.input[0]) if entry.op_type == "Squeeze" and len(entry.input) == 2 else None
    if before is None or not before.op_type.startswith("Reduce") or len(before.input) != 2 or not option(before, "keepdims", 1):
        return None
    rank = len(shapes.dims.get(before.input[0], ()))
    axes = [{axis % rank for axis in net.whole(one.input[1]) or ()} if rank else set() for one in (entry, before)]
    if not axes[0] or axes[0] != axes[1] or net.reads(entry.input[0]) != 1:
        return None
    kept = {one.name: helper.get_attribute_value(one) for one in before.attribute if one.name != "keepdims"}
    return [node(before.op_type, list(before.input), entry.output[0], **kept, keepdims=0)]


def _dropped_early(
    entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]
) -> list[onnx.NodeProto] | None:
    """Return a reduction without the axis that a Squeeze drops behind operators on single numbers, and those operators on what is left."""
    name, steps = entry.input[0] if entry.op_type == "Squeeze" and len(entry.input) == 2 else "", list[onnx.NodeProto]()
    while (before := made.get(name)) is not None and net.reads(name) == 1 and before.op_type in _ALONE:
        large = [one for one in before.input if (number := net.array(one)) is None or number.size > 1 or number.ndim > 1]
        if len(large) != 1:
            return None
        steps.append(before)
        name = large[0]
    if before is None or not steps or not before.op_type.startswith("Reduce"):
        return None
    last = node("Squeeze", [name, entry.input[1]], f"{entry.output[0]}.left")
    found = _dropped(last, made, net, shapes, stored)
    if found is None:
        return None
    names = [entry.output[0], *(f"{entry.output[0]}.{place}" for place in range(1, len(steps))), last.output[0]]
    for step, source, out in zip(reversed(steps), reversed(names[1:]), reversed(names[:-1]), strict=True):
        kept = {one.name: helper.get_attribute_value(one) for one in step.attribute}
        inputs = [one if net.array(one) is not None else source for one in step.input]
        found.append(node(step.op_type, inputs, out, **kept))
    return found


def _nothing(
    entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]
) -> list[onnx.NodeProto] | str | None:
    """Return x for x + 0, x - 0, x · 1 and x / 1 of as many numbers as x has; under its own name what is an answer of the graph."""
    neutral = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}.get(entry.op_type)
    if neutral is None:
        return None
    for place, name in enumerate(entry.input):
        constant, other = net.array(name), entry.input[1 - place]
        alone = place == 1 or entry.op_type in ("Add", "Mul")
        if constant is None or not alone or not constant.size or not (constant == neutral).all():
            continue
        if other not in shapes.dims or shapes.dims[other] != shapes.dims.get(entry.output[0]):
            continue
        before = made.get(other)
        if entry.output[0] not in net.outputs:
            return str(other)
        if before is not None and len(before.output) == 1 and net.reads(other) == 1:
            renamed = onnx.NodeProto.FromString(before.SerializeToString())
            renamed.output[:] = entry.output
            return [renamed]
    return None


def _undone(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> str | None:
    """Return what an Unsqueeze, Squeeze, Reshape or Not undoes, or the value that an And, Or or Cast leaves as it is."""
    given = list[str](entry.input)
    before = made.get(given[0]) if given else None
    if entry.op_type in ("And", "Or") and given[0] == given[1]:
        return given[0]
    if before is None:
        return None
    if entry.op_type == before.op_type == "Not":
        return str(before.input[0])
    pair = {entry.op_type, before.op_type}
    if pair <= {"Squeeze", "Unsqueeze", "Reshape"} and before.input[0] in shapes.dims and entry.output[0] in shapes.dims:
        ends = shapes.dims[before.input[0]], shapes.dims[entry.output[0]]
        return str(before.input[0]) if ends[0] == ends[1] else None
    return None


def _masked_twice(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> str | None:
    """Return x · m for x · m · m where m is a Cast of true and false: 1 · 1 = 1, 0 · 0 = 0."""
    before = made.get(entry.input[0]) if entry.op_type == "Mul" else None
    if before is None or before.op_type != "Mul" or entry.input[1] not in before.input:
        return None
    return str(before.output[0]) if is_logical(entry.input[1], made) else None


def _turned(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return one Transpose for Reshape, Transpose and Reshape that swap the last two axes of a value with leading axes in one."""
    turn = made.get(entry.input[0]) if entry.op_type == "Reshape" else None
    first = made.get(turn.input[0]) if turn is not None and turn.op_type == "Transpose" else None
    if turn is None or first is None or first.op_type != "Reshape" or list(option(turn, "perm", [])) != [0, 2, 1]:
        return None
    if not {first.input[0], first.output[0], entry.output[0]} <= set(shapes.dims):
        return None
    start, middle, end = (shapes.dims[name] for name in (first.input[0], first.output[0], entry.output[0]))
    rank = len(start)
    if rank < 3 or start[-2:] != middle[1:] or end != (*start[:-2], start[-1], start[-2]):
        return None
    return [node("Transpose", [first.input[0]], entry.output[0], perm=[*range(rank - 2), rank - 1, rank - 2])]


def _straight(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return one Reshape for a Squeeze, Unsqueeze or Reshape followed by a Reshape to constant sizes."""
    before = made.get(entry.input[0]) if entry.op_type == "Reshape" else None
    sizes = net.whole(entry.input[1]) if before is not None else None
    if before is None or sizes is None or 0 in sizes or before.op_type not in ("Reshape", "Squeeze", "Unsqueeze"):
        return None
    return [node("Reshape", [before.input[0], entry.input[1]], entry.output[0])]


def offset(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return x W + c for a product without an offset and the constant that is added to it, one number or one a column.

    Whether the sum is the same bit for bit is up to the processor: the caller compares.
    """
    product = made.get(entry.input[0]) if entry.op_type == "Add" else None
    constant = net.array(entry.input[1]) if product is not None else None
    if product is None or constant is None or product.op_type != "Gemm" or any(product.input[2:]):
        return None
    width = shapes.dims.get(product.output[0], (0, 0))[-1]
    if net.reads(product.output[0]) != 1 or constant.shape not in ((), (1,), (width,)):
        return None
    kept = {one.name: helper.get_attribute_value(one) for one in product.attribute if one.name != "beta"}
    return [node("Gemm", [*product.input[:2], entry.input[1]], entry.output[0], **kept)]


MOVES: tuple[Move, ...] = (
    _picked,
    _dropped,
    _dropped_early,
    _nothing,
    _undone,
    _masked_twice,
    masked_late,
    row_of_triangle,
    _turned,
    _straight,
    joined,
    nested,
)
