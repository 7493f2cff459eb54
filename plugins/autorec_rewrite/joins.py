"""What is put side by side: slices that lie side by side already, and lists of fields that are flattened afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from autorec_rewrite.net import Net, node, option
from autorec_rewrite.probe import Shapes

__all__ = ["flattened", "joined", "nested"]

Made = Mapping[str, onnx.NodeProto]


def joined(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | str | None:
    """Return a Concat in which slices that lie side by side are one slice, or the whole value."""
    if entry.op_type != "Concat" or entry.output[0] not in shapes.dims:
        return None
    axis = option(entry, "axis", 0) % max(1, len(shapes.dims[entry.output[0]]))
    parts: list[tuple[str, str, int, int]] = []
    for name in entry.input:
        source, start, end = _slice_of(name, axis, made, net, shapes)
        if parts and source and parts[-1][1] == source and parts[-1][3] == start:
            parts[-1] = ("", source, parts[-1][2], end)
        else:
            parts.append((name, source, start, end))
    if len(parts) == len(entry.input):
        return None
    inputs: list[str] = []
    nodes: list[onnx.NodeProto] = []
    for name, source, start, end in parts:
        if not name and shapes.dims[source][axis] != end - start:
            name = f"{entry.output[0]}.{start}"
            bounds = {f"{name}.{key}": np.array([value], np.int64) for key, value in (("start", start), ("end", end), ("axis", axis))}
            nodes.append(node("Slice", [source, *bounds], name))
            stored |= bounds
        inputs.append(name or source)
    return inputs[0] if len(inputs) == 1 else [*nodes, node("Concat", inputs, entry.output[0], axis=axis)]


def _slice_of(name: str, axis: int, made: Made, net: Net, shapes: Shapes) -> tuple[str, int, int]:
    """Return (source, start, end) of a slice by constants on one axis; "" where a value is none."""
    entry = made.get(name)
    if entry is None or entry.op_type != "Slice" or len(entry.input) < 4 or entry.input[0] not in shapes.dims:
        return "", 0, 0
    starts, ends, axes = (net.whole(source) for source in entry.input[1:4])
    steps = net.whole(entry.input[4]) if len(entry.input) > 4 and entry.input[4] else [1]
    size = shapes.dims[entry.input[0]]
    if not (starts and ends and axes) or steps != [1] or len(axes) != 1 or axes[0] % len(size) != axis or not isinstance(size[axis], int):
        return "", 0, 0
    limit = int(size[axis])  # type: ignore[arg-type]
    start, end = (max(0, value + limit) if value < 0 else min(value, limit) for value in (starts[0], ends[0]))
    return entry.input[0], start, end


def nested(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return one Concat for a Concat of others on the same axis, which nobody else reads."""
    rank = len(shapes.dims.get(entry.output[0], ())) if entry.op_type == "Concat" else 0
    if not rank:
        return None
    parts = list[str]()
    for name in entry.input:
        inner = made.get(name)
        same = inner is not None and inner.op_type == "Concat" and option(inner, "axis", 0) % rank == option(entry, "axis", 0) % rank
        parts += inner.input if inner is not None and same and net.reads(name) == 1 else [name]
    return [node("Concat", parts, entry.output[0], axis=option(entry, "axis", 0))] if len(parts) > len(entry.input) else None


def flattened(entry: onnx.NodeProto, made: Made, net: Net, shapes: Shapes, stored: dict[str, np.ndarray]) -> list[onnx.NodeProto] | None:
    """Return a Concat of rows for a Concat of lists of fields [A, K, D] that is reshaped to rows [A, K D].

    A field that was put into a list of its own stays a row; of a list, its flat form is taken, or slices of that.
    """
    before = made.get(entry.input[0]) if entry.op_type == "Reshape" else None
    start, end = (shapes.dims.get(name, ()) for name in (entry.input[0], entry.output[0])) if before is not None else ((), ())
    if before is None or before.op_type != "Concat" or option(before, "axis", 0) != 1 or net.reads(entry.input[0]) != 1:
        return None
    if len(start) != 3 or len(end) != 2 or start[0] != end[0] or not isinstance(start[2], int):
        return None
    width, nodes, parts, single = start[2], dict[str, onnx.NodeProto](), list[str](), 0
    for name in before.input:
        one, (source, first, last) = made.get(name), _slice_of(name, 1, made, net, shapes)
        if one is not None and one.op_type == "Unsqueeze" and net.whole(one.input[1]) == [1]:
            parts.append(one.input[0])
            single += 1
            continue
        whole = shapes.dims.get(source or name, ())
        if len(whole) != 3 or not isinstance(whole[1], int) or net.reads(name) != 1:
            return None
        flat, cut = f"{source or name}.flat", f"{name}.flat"
        stored[f"{flat}.sizes"] = np.array([-1, whole[1] * width], np.int64)
        nodes[flat] = node("Reshape", [source or name, f"{flat}.sizes"], flat)
        parts.append(cut)
        if not source:
            continue
        ends = ("start", first * width), ("end", last * width), ("axis", 1)
        bounds = {f"{cut}.{key}": np.array([value], np.int64) for key, value in ends}
        stored |= bounds
        nodes[cut] = node("Slice", [flat, *bounds], cut)
    return [*nodes.values(), node("Concat", parts, entry.output[0], axis=1)] if single else None
