"""Which rows of its inputs an operator needs to answer one row of its output: the rules of row-wise operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import onnx

from autorec_rewrite.net import Net, option
from autorec_rewrite.probe import Shapes, Size

__all__ = ["EACH", "Need", "Row", "aligned", "needs"]


@dataclass(frozen=True, slots=True)
class Row:
    """One place of an axis.

    Args:
        position: Name of the value that holds the place of each row of the batch; "#2" or "#-1" where all rows have the same.
        axis: Axis that the place is on.
        batch: Axis of the batch; -1 where all rows have the same place.
    """

    position: str
    axis: int
    batch: int = -1

    @property
    def fixed(self) -> int | None:
        """Return the place that all rows of the batch share."""
        return int(self.position[1:]) if self.position.startswith("#") else None


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """What an operator reads when it answers one row.

    Args:
        rows: Input → the row of it; other inputs are read whole.
        spread: Input without a batch axis → its axis that the place is on: each row of the batch takes its own.
        stored: Input → the constant in its place.
    """

    rows: Mapping[int, Row] = field(default_factory=dict)
    spread: Mapping[int, int] = field(default_factory=dict)
    stored: Mapping[int, np.ndarray] = field(default_factory=dict)


Rule = Callable[[onnx.NodeProto, Row, Net, Shapes], Need | None]


def needs(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """Return what a node needs to answer a row of its first output; None where it needs more than rows, or is not known."""
    rule = _RULES.get(entry.op_type) if not entry.domain else None
    known = all(name in shapes.dims for name in (*entry.input, *entry.output) if name)
    return rule(entry, row, net, shapes) if rule is not None and known else None


def aligned(size: Sequence[Size], axis: int, rank: int) -> int:
    """Return the axis of an input that meets an axis of a broadcast output of `rank` axes; -1 where it has none, or one of length 1."""
    own = axis - rank + len(size)
    return -1 if axis < 0 or own < 0 or size[own] == 1 else own


def _each(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """Numbers meet numbers of the same place: every input gives its own row."""
    return _broadcast(range(len(entry.input)), entry, row, shapes)


def _broadcast(places: Sequence[int], entry: onnx.NodeProto, row: Row, shapes: Shapes) -> Need | None:
    out = shapes.dims[entry.output[0]]
    rows, spread = dict[int, Row](), dict[int, int]()
    for place in places:
        name = entry.input[place]
        size = shapes.dims[name] if name else ()
        axis, batch = aligned(size, row.axis, len(out)), aligned(size, row.batch, len(out))
        if axis < 0:
            continue
        if size[axis] != out[row.axis] or (batch >= 0 and size[batch] != out[row.batch]):
            return None
        if row.batch < 0 or batch >= 0:
            rows[place] = replace(row, axis=axis, batch=batch)
        elif row.batch == 0 and all(one == 1 for one in size[:axis]):
            spread[place] = axis
        else:
            return None
    return Need(rows, spread) if rows or spread else None


def _product(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """A row of a product needs that row of the left matrix, or that column of the right one."""
    left, right = (shapes.dims[name] for name in entry.input[:2])
    rank = len(shapes.dims[entry.output[0]])
    if min(len(left), len(right)) < 2 or row.batch >= rank - 2:
        return None
    if row.axis < rank - 2:
        return _broadcast((0, 1), entry, row, shapes)
    place, size = (0, left) if row.axis == rank - 2 else (1, right)
    axis, batch = row.axis - rank + len(size), aligned(size, row.batch, rank)
    return None if row.batch >= 0 and batch < 0 else Need({place: replace(row, axis=axis, batch=batch)})


def _moved(row: Row, place: Callable[[int], int]) -> Row | None:
    """Return the row where axes come from other places; -1 = from none."""
    axis, batch = place(row.axis), place(row.batch) if row.batch >= 0 else -1
    return None if axis < 0 or (row.batch >= 0 and batch < 0) else replace(row, axis=axis, batch=batch)


def _first(row: Row | None) -> Need | None:
    return None if row is None else Need({0: row})


def _transpose(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    rank = len(shapes.dims[entry.output[0]])
    order = list(option(entry, "perm", range(rank - 1, -1, -1)))
    return _first(_moved(row, lambda axis: order[axis]))


def _unsqueeze(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    new = _axes(entry, net, len(shapes.dims[entry.output[0]]))
    return None if new is None else _first(_moved(row, lambda axis: -1 if axis in new else axis - sum(one < axis for one in new)))


def _squeeze(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    rank = len(shapes.dims[entry.input[0]])
    gone = _axes(entry, net, rank)
    left = None if gone is None else [axis for axis in range(rank) if axis not in gone]
    return None if left is None else _first(_moved(row, lambda axis: left[axis]))


def _reduce(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """A sum over other axes needs the row."""
    if option(entry, "keepdims", 1) == 0:
        return _squeeze(entry, row, net, shapes)
    gone = _axes(entry, net, len(shapes.dims[entry.input[0]]))
    return None if gone is None else _first(_moved(row, lambda axis: -1 if axis in gone else axis))


def _along(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """Softmax and the like: the rest of the row, and of no other."""
    axis = option(entry, "axis", -1) % len(shapes.dims[entry.output[0]])
    last = entry.op_type == "LayerNormalization"
    inside = row.axis >= axis or row.batch >= axis if last else axis in (row.axis, row.batch)
    return None if inside else Need({0: row})


def _sum_up(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    axes = net.whole(entry.input[1])
    rank = len(shapes.dims[entry.output[0]])
    return Need({0: row}) if axes and axes[0] % rank not in (row.axis, row.batch) else None


def _concat(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    axis = option(entry, "axis", 0) % len(shapes.dims[entry.output[0]])
    return None if axis in (row.axis, row.batch) else Need(dict.fromkeys(range(len(entry.input)), row))


def _slice(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    rank = len(shapes.dims[entry.output[0]])
    axes = net.whole(entry.input[3]) if len(entry.input) > 3 else None
    return None if axes is None or {axis % rank for axis in axes} & {row.axis, row.batch} else Need({0: row})


def _pad(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    pads, rank = net.whole(entry.input[1]), len(shapes.dims[entry.output[0]])
    if pads is None or len(entry.input) > 3 or len(pads) != 2 * rank:
        return None
    return None if any(pads[axis] or pads[axis + rank] for axis in (row.axis, row.batch) if axis >= 0) else Need({0: row})


def _gather(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """Look-ups: rows of the indices, or rows of a table whose other axis is looked up."""
    table, index = (shapes.dims[name] for name in entry.input)
    axis, rank = option(entry, "axis", 0) % len(table), len(index)
    read = _moved(row, lambda one: one - axis if axis <= one < axis + rank else -1)
    kept = _moved(row, lambda one: one if one < axis else one - rank + 1 if one >= axis + rank else -1)
    return Need({1: read}) if read is not None else _first(kept)


def _reshape(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """Other axes are split or joined; the place stays on an axis of its own."""
    before, after = shapes.dims[entry.input[0]], shapes.dims[entry.output[0]]
    moved = _moved(row, lambda axis: _same_axis(before, after, axis))
    sizes = [1 if axis == row.axis else size for axis, size in enumerate(after)]
    free = [size for size in sizes if not isinstance(size, int)]
    if moved is None or len(free) > 1:
        return None
    flat = np.array([size if isinstance(size, int) else -1 for size in sizes], np.int64)
    return Need({0: moved}, stored={1: flat})


def _same_axis(before: Sequence[Size], after: Sequence[Size], axis: int) -> int:
    """Return the axis of `before` that is the same as one of `after`: as long, with as many numbers in front; -1 without one."""
    front = _numbers(after[:axis])
    return next((own for own, size in enumerate(before) if size == after[axis] and size != 1 and _numbers(before[:own]) == front), -1)


def _numbers(sizes: Sequence[Size]) -> tuple[int, ...]:
    turns = max((len(size) for size in sizes if isinstance(size, tuple)), default=1)
    found = tuple(prod(size if isinstance(size, int) else size[turn] for size in sizes) for turn in range(turns))
    return found if len(set(found)) > 1 else found[:1]


def _expand(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    before, after = shapes.dims[entry.input[0]], shapes.dims[entry.output[0]]
    sizes = [1 if axis == row.axis or aligned(before, axis, len(after)) >= 0 else size for axis, size in enumerate(after)]
    found = _broadcast((0,), entry, row, shapes) if aligned(before, row.axis, len(after)) >= 0 else Need()
    if found is None or found.spread or not all(isinstance(size, int) for size in sizes):
        return None
    return replace(found, stored={1: np.array(sizes, np.int64)})


def _recurrent(entry: onnx.NodeProto, row: Row, net: Net, shapes: Shapes) -> Need | None:
    """The state after a step of a forward unit: `demand` reads it as the last one of a shorter sequence."""
    plain = option(entry, "direction", b"forward") == b"forward" and option(entry, "layout", 0) == 0
    other = any(entry.output[1:]) or (len(entry.input) > 4 and entry.input[4])
    return Need() if plain and not other and (row.axis, row.batch) == (0, 2) else None


def _axes(entry: onnx.NodeProto, net: Net, rank: int) -> list[int] | None:
    """Return the axes that an operator adds, drops or sums over; None where they are not constant, or all."""
    found = net.whole(entry.input[1]) if len(entry.input) > 1 else list(option(entry, "axes", [])) or None
    return None if not found else [axis % rank for axis in found]


_NAMES = """
    Abs Add And BitShift BitwiseAnd BitwiseOr Cast Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
"""
EACH = frozenset(_NAMES.split())
_RULES: dict[str, Rule] = {
    **dict.fromkeys(EACH, _each),
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"), _reduce
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "LayerNormalization"), _along),
    "Concat": _concat,
    "CumSum": _sum_up,
    "Expand": _expand,
    "GRU": _recurrent,
    "Gather": _gather,
    "MatMul": _product,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
