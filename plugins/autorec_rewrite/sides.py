"""What depends on the user alone is computed once where a request ranks many candidates of one user: its inputs may have one row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import onnx

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_rewrite.net import Net, makers, node, option, with_nodes
from autorec_rewrite.probe import Shapes, Size
from autorec_rewrite.rows import EACH

__all__ = ["Sides", "once"]

_USER = "user_rows"  # name of the axis that user inputs get


class Sides:
    """Which inputs each value depends on.

    Args:
        users: Inputs that are the same for all candidates of one user.
    """

    def __init__(self, net: Net, users: Collection[str]) -> None:
        self.users = set(users)
        self.inputs: dict[str, set[str]] = {name: {name} for name in net.inputs}
        for entry in net.nodes:
            found = set().union(*(self.inputs.get(name, set()) for name in entry.input))
            self.inputs |= {name: found for name in entry.output if name}

    def of_user(self, name: str) -> bool:
        """Return whether a value depends on inputs of the user, and on no other."""
        found = self.inputs.get(name, set())
        return bool(found) and found <= self.users


def once(net: Net, shapes: Shapes, users: Collection[str]) -> Net:
    """Return the graph whose user inputs may have one row for all rows of the others.

    Raises:
        NotApplicable: No input tells how many rows there are, or sizes of several axes are taken at once.
    """
    others = [name for name in net.inputs if name not in users]
    if not others or not users:
        raise NotApplicable("users and candidates have no inputs of their own")
    build = _Once(net, shapes, Sides(net, users), others[0], sorted(users)[0])
    nodes = [part for entry in net.nodes for part in build.node(entry)]
    ends = [part for name in net.outputs for part in build.end(name)]
    renamed = onnx.ModelProto()
    renamed.CopyFrom(net.model)
    for value in renamed.graph.input:
        if value.name in users:
            value.type.tensor_type.shape.dim[0].dim_param = _USER
    found = with_nodes(net, [*_without(nodes, build.ended), *ends, *build.extra.values()], build.stored)
    return replace(found, model=renamed)


def _without(nodes: Sequence[onnx.NodeProto], ended: dict[str, str]) -> list[onnx.NodeProto]:
    """Return the nodes; those that make an output for one row make another value, which is repeated behind."""
    for entry in nodes:
        entry.output[:] = [ended.get(name, name) for name in entry.output]
        entry.input[:] = [ended.get(name, name) for name in entry.input]
    return list(nodes)


class _Once:
    """Writes the nodes; where one row of the user meets many rows, operators that repeat it by themselves read it as it is."""

    def __init__(self, net: Net, shapes: Shapes, sides: Sides, row: str, user: str) -> None:
        self.shapes, self.sides, self.row, self.user = shapes, sides, row, user
        self.dims: dict[str, tuple[Size, ...]] = dict(shapes.dims)
        self.rows = shapes.dims[row][0]
        self.made = makers(net)
        self.plain = self._sizes(net)
        self.extra: dict[str, onnx.NodeProto] = {}
        self.stored: dict[str, np.ndarray] = {}
        self.ended: dict[str, str] = {}

    def node(self, entry: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return a node as it is for the user or for rows."""
        out = entry.output[0]
        if out in self.plain:
            return []
        copy = self._grouped(onnx.NodeProto.FromString(entry.SerializeToString()))
        user = self.sides.of_user(out) or self._of_user_but_sizes(entry)
        for place, name in enumerate(list(copy.input)):
            if name in self.plain:
                copy.input[place] = self._sized(name, user=user)
            elif not user and self.sides.of_user(name) and not self._repeats(copy, place):
                copy.input[place] = self._many(name)
        if user and not self.sides.of_user(out):
            self.sides.inputs |= {name: {self.user} for name in entry.output if name}
        return [copy]

    def _grouped(self, entry: onnx.NodeProto) -> onnx.NodeProto:
        """Lay neighbours of the user side by side before they are repeated."""
        if entry.op_type != "Concat" or self.sides.of_user(entry.output[0]) or entry.output[0] not in self.shapes.dims:
            return entry
        axis = option(entry, "axis", 0) % len(self.shapes.dims[entry.output[0]])
        parts: list[str] = []
        for alone, names in groupby(entry.input, self.sides.of_user):
            run = list(names)
            widths = [size for name in run for size in self.shapes.dims.get(name, ())[axis : axis + 1] if isinstance(size, int)]
            if not alone or len(run) == 1 or axis == 0 or len(widths) < len(run):
                parts += run
                continue
            key, size = ".".join(["together", *run]), self.shapes.dims[run[0]]
            self.extra[key] = node("Concat", run, key, axis=axis)
            self.sides.inputs[key] = set(self.sides.users)
            self.dims[key] = (*size[:axis], sum(widths), *size[axis + 1 :])
            parts.append(key)
        entry.input[:] = parts
        return entry

    def end(self, name: str) -> list[onnx.NodeProto]:
        """Return what repeats an output that depends on the user alone."""
        if not self.sides.of_user(name):
            return []
        many = self._many(name)
        self.ended[name] = f"{name}.once"
        self.extra[many].input[0] = f"{name}.once"
        return [node("Identity", [many], name)]

    def _sizes(self, net: Net) -> set[str]:
        """Return the values that depend on sizes of inputs alone."""
        found: set[str] = set()
        for entry in net.nodes:
            from_sizes = bool(entry.input) and all(not name or name in found or name in net.stored for name in entry.input)
            if entry.op_type == "Shape" or (from_sizes and any(name in found for name in entry.input)):
                found.update(entry.output)
        return found

    def _of_user_but_sizes(self, entry: onnx.NodeProto) -> bool:
        """Return whether all that a node reads beside sizes and constants is the user's."""
        read = [name for name in entry.input if name and name not in self.plain and self.sides.inputs.get(name)]
        return bool(read) and all(self.sides.of_user(name) for name in read)

    def _sized(self, name: str, *, user: bool) -> str:
        """Return a copy of a value of sizes that counts the rows of the user, or those of the others."""
        entry, key = self.made[name], f"{name}.{'user' if user else 'rows'}"
        if key in self.extra:
            return key
        copy = onnx.NodeProto.FromString(entry.SerializeToString())
        copy.name, copy.output[0] = "", key
        if entry.op_type == "Shape":
            rank = len(self.shapes.dims[entry.input[0]])
            start, end = option(entry, "start", 0) % max(1, rank), option(entry, "end", rank)
            if start == 0 and self.shapes.dims[entry.input[0]][0] == self.rows:
                if end != 1 or entry.input[0] not in self.sides.inputs:
                    raise NotApplicable("sizes of several axes are taken at once")
                copy.input[0] = self.user if user else self.row
        else:
            copy.input[:] = [self._sized(one, user=user) if one in self.plain else one for one in entry.input]
        self.extra[key] = copy
        return key

    def _repeats(self, entry: onnx.NodeProto, place: int) -> bool:
        """Return whether an operator repeats one row by itself."""
        name, out = entry.input[place], entry.output[0]
        if name not in self.shapes.dims or out not in self.shapes.dims:
            return False
        size, whole = self.shapes.dims[name], self.shapes.dims[out]
        matched = len(size) == len(whole) and size[:1] == whole[:1] == (self.rows,)
        other = any(one != place and self._rows_of(one_name, whole) for one, one_name in enumerate(entry.input))
        if entry.op_type == "Gemm":
            return place == 2
        return matched and other and (entry.op_type in EACH or (entry.op_type == "MatMul" and len(size) > 2))

    def _rows_of(self, name: str, whole: Sequence[object]) -> bool:
        """Return whether a value brings the rows of an output."""
        size = self.shapes.dims.get(name, ())
        return bool(name) and len(size) == len(whole) and size[:1] == (self.rows,) and not self.sides.of_user(name)

    def _many(self, name: str) -> str:
        """Return a value of the user, repeated for all rows."""
        key, rank = f"{name}.many", len(self.dims[name])
        if self.dims[name][:1] != (self.rows,):
            return name
        if key not in self.extra:
            self.extra.setdefault("rows.count", node("Shape", [self.row], "rows.count", start=0, end=1))
            size = "rows.count"
            if rank > 1:
                size = f"rows.count.{rank}"
                self.stored[f"ones.{rank}"] = np.ones(rank - 1, np.int64)
                self.extra.setdefault(size, node("Concat", ["rows.count", f"ones.{rank}"], size, axis=0))
            self.extra[key] = node("Expand", [name, size], key)
        return key
