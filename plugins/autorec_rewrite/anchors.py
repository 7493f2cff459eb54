"""Where a graph keeps one step of a sequence and drops the others."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from autorec_rewrite.net import Net, makers, option
from autorec_rewrite.probe import Shapes
from autorec_rewrite.rows import Row

__all__ = ["Anchor", "anchors"]

_FAR = 2**31 - 1  # where a slice ends that goes to the end


@dataclass(frozen=True, slots=True)
class Anchor:
    """A node that keeps one place of a free axis.

    Args:
        row: What it reads of its first input.
        places: Value int64 with the place of each row of the batch, all other axes of length 1; "" where the place is constant.
        squeezed: Whether the axis is dropped.
    """

    row: Row
    places: str = ""
    squeezed: bool = False


def anchors(net: Net, shapes: Shapes) -> dict[str, Anchor]:
    """Return output → the anchor whose output it is."""
    made = makers(net)
    found = {entry.output[0]: _anchor(entry, net, shapes, made) for entry in net.nodes}
    return {name: anchor for name, anchor in found.items() if anchor is not None}


def _anchor(entry: onnx.NodeProto, net: Net, shapes: Shapes, made: dict[str, onnx.NodeProto]) -> Anchor | None:
    if entry.op_type not in _KINDS or entry.input[0] not in shapes.dims or entry.input[0] in net.stored:
        return None
    found = _KINDS[entry.op_type](entry, net, shapes, made)
    return found if found is not None and isinstance(shapes.dims[entry.input[0]][found.row.axis], tuple) else None


def _own_places(entry: onnx.NodeProto, net: Net, shapes: Shapes, made: dict[str, onnx.NodeProto]) -> Anchor | None:
    """GatherElements with one index a row of the batch, the same for all numbers of the step."""
    data, index = shapes.dims[entry.input[0]], shapes.dims.get(entry.input[1], ())
    axis = option(entry, "axis", 0) % len(data)
    spread = made.get(entry.input[1])
    source = spread.input[0] if spread is not None and spread.op_type == "Expand" else entry.input[1]
    own = shapes.dims.get(source, ())
    batch = [one for one, size in enumerate(own) if size != 1]
    whole = len(index) == len(own) == len(data) and all(size == (1 if one == axis else data[one]) for one, size in enumerate(index))
    if not whole or len(batch) != 1 or batch[0] == axis or own[batch[0]] != data[batch[0]]:
        return None
    return Anchor(Row(f"@{source}", axis, batch[0]), source)


def _same_place(entry: onnx.NodeProto, net: Net, shapes: Shapes, made: dict[str, onnx.NodeProto]) -> Anchor | None:
    """Gather with one constant index, not of the first axis."""
    axis, index = option(entry, "axis", 0) % len(shapes.dims[entry.input[0]]), net.whole(entry.input[1])
    if axis == 0 or index is None or len(index) != 1 or len(shapes.dims[entry.input[1]]) > 1:
        return None
    return Anchor(Row(f"#{index[0]}", axis), squeezed=not shapes.dims[entry.input[1]])


def _short_slice(entry: onnx.NodeProto, net: Net, shapes: Shapes, made: dict[str, onnx.NodeProto]) -> Anchor | None:
    """Slice of one step, not of the first axis."""
    bounds = [net.whole(name) for name in entry.input[1:4]]
    if len(bounds) != 3 or any(bound is None or len(bound) != 1 for bound in bounds):
        return None
    (start,), (end,), (axis,) = (bound for bound in bounds if bound is not None)
    axis %= len(shapes.dims[entry.input[0]])
    step = net.whole(entry.input[4]) if len(entry.input) > 4 and entry.input[4] else [1]
    one = (start == -1 and end >= _FAR) or (end == start + 1 and end != 0)
    return Anchor(Row(f"#{start}", axis)) if axis and step == [1] and one else None


_KINDS = {"Gather": _same_place, "GatherElements": _own_places, "Slice": _short_slice}
