"""Rows of a mask that is computed whole: the rows alone, where a triangle of ones is what they are read from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from autorec_rewrite.net import Net, bytes_of, node, option
from autorec_rewrite.probe import Shapes, run

__all__ = ["is_logical", "masked_late", "row_of_triangle"]

Made = Mapping[str, onnx.NodeProto]
_ELEMENTWISE = ("Where", "Equal", "Not", "Cast", "Mul", "Add", "Sub", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or")


def row_of_triangle(
    entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]
) -> list[onnx.NodeProto] | None:
    """Return what computes rows i of a mask [L, L] from a triangle of one number: there is a value where j ≥ i, or where j ≤ i.

    The row numbers are bounded below by zero: one that is counted from the end is another row.
    """
    if entry.op_type != "Gather" or option(entry, "axis", 0) or len(shapes.dims.get(entry.input[0], ())) != 2:
        return None
    bound = made.get(entry.input[1])
    least = net.whole(bound.input[1]) if bound is not None and bound.op_type == "Clip" and len(bound.input) > 1 else None
    through = _to_triangle(entry.input[0], made, net, shapes)
    if not through or not least or least[0] < 0:
        return None
    *steps, triangle = through
    whole, out = made[triangle.input[0]], entry.output[0]
    value, width = net.array(whole.input[0]), _width(whole.input[1], made, shapes)
    if value is None or value.size != 1 or not width:
        return None
    inside, outside = (_through(steps, number, net) for number in (value.reshape(()), np.zeros((), value.dtype)))
    numbers = {"zero": np.array(0), "one": np.array(1), "last": np.array([-1]), "first": np.array([0]), "value": inside, "rest": outside}
    stored |= {f"{out}.{key}": number for key, number in numbers.items()}
    compared = "GreaterOrEqual" if option(triangle, "upper", 1) else "LessOrEqual"
    return [
        node("Squeeze", [width, f"{out}.first"], f"{out}.width"),
        node("Range", [f"{out}.zero", f"{out}.width", f"{out}.one"], f"{out}.columns"),
        node("Unsqueeze", [entry.input[1], f"{out}.last"], f"{out}.row"),
        node(compared, [f"{out}.columns", f"{out}.row"], f"{out}.inside"),
        node("Where", [f"{out}.inside", f"{out}.value", f"{out}.rest"], out),
    ]


def _width(name: str, made: Made, shapes: Shapes) -> str:
    """Return the value [1] that holds the second of two sizes; "" where they were not put together from single ones."""
    sizes = made.get(name)
    if sizes is None or sizes.op_type != "Concat" or len(sizes.input) != 2 or shapes.dims.get(sizes.input[1]) != (1,):
        return ""
    return str(sizes.input[1])


def _through(steps: list[onnx.NodeProto], number: np.ndarray, net: Net) -> np.ndarray:
    """Return what elementwise operators, the last first, make of one number."""
    given = numpy_helper.from_array(number, steps[-1].output[0] + ".given") if steps else None
    if given is None:
        return number
    entries = [onnx.NodeProto.FromString(step.SerializeToString()) for step in reversed(steps)]
    first = next(place for place, name in enumerate(entries[0].input) if not _single(name, net))
    entries[0].input[first] = given.name
    model = onnx.ModelProto()
    model.CopyFrom(net.model)
    for field in ("input", "output"):
        model.graph.ClearField(field)
    model.graph.output.append(onnx.ValueInfoProto(name=steps[0].output[0]))
    return next(iter(run(bytes_of(Net(model, tuple(entries), {**net.stored, given.name: given})), {}).values()))


def _to_triangle(name: str, made: Made, net: Net, shapes: Shapes) -> list[onnx.NodeProto]:
    """Return what makes a value of a triangle that an Expand fills, the last first; none where nobody else may miss what goes."""
    found = list[onnx.NodeProto]()
    while (entry := made.get(name)) is not None and net.reads(name) == 1:
        found.append(entry)
        if entry.op_type == "Trilu":
            filled = made.get(entry.input[0]) if len(entry.input) == 1 else None
            return found if filled is not None and filled.op_type == "Expand" else []
        large = [one for one in entry.input if not _single(one, net)]
        if entry.op_type not in _ELEMENTWISE or len(large) != 1 or shapes.dims.get(large[0]) != shapes.dims.get(name):
            return []
        name = large[0]
    return []


def masked_late(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return (x + p) · m for (x · m + p) · m where m is a Cast of true and false: the same as long as x + p is finite."""
    total = made.get(entry.input[0]) if entry.op_type == "Mul" else None
    if total is None or total.op_type != "Add" or not is_logical(entry.input[1], made) or net.reads(entry.input[0]) != 1:
        return None
    mask = entry.input[1]
    for place, name in enumerate(total.input):
        inner = made.get(name)
        if inner is not None and inner.op_type == "Mul" and inner.input[1] == mask and net.reads(name) == 1:
            parts = [inner.input[0] if at == place else other for at, other in enumerate(total.input)]
            return [node("Add", parts, f"{entry.output[0]}.whole"), node("Mul", [f"{entry.output[0]}.whole", mask], entry.output[0])]
    return None


def is_logical(name: str, made: Made) -> bool:
    """Return whether a value is a Cast of true and false, moved at most."""
    cast = made.get(name)
    source = made.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    while source is not None and source.op_type in ("Unsqueeze", "Squeeze", "Reshape"):
        source = made.get(source.input[0])
    return source is not None and source.op_type in ("Not", "And", "Or", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def _single(name: str, net: Net) -> bool:
    found = net.array(name)
    return found is not None and found.size == 1 and found.ndim < 2
