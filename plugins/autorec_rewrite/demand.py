"""Row demand: going backwards from where one step is kept, which values are needed whole, and which in that one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from autorec_rewrite.anchors import Anchor, anchors
from autorec_rewrite.net import Net, node, with_nodes
from autorec_rewrite.probe import Shapes
from autorec_rewrite.rows import Need, Row, needs

__all__ = ["Demand", "demanded", "narrowed"]


@dataclass(slots=True)
class Demand:
    """What is needed of every value.

    Args:
        whole: Values that are needed whole.
        rows: Value → rows that are needed of it.
        narrow: Output of a node that answers one row alone → what it needs.
        anchors: Output → the anchor there.
    """

    whole: set[str]
    anchors: Mapping[str, Anchor]
    rows: dict[str, set[Row]] = field(default_factory=dict)
    narrow: dict[str, Need] = field(default_factory=dict)

    def part(self, name: str) -> bool:
        """Return whether rows of a value are needed, and the value is not."""
        return name in self.rows and name not in self.whole


def demanded(net: Net, shapes: Shapes) -> Demand:
    """Walk the graph backwards; its nodes are sorted."""
    found = Demand(set(net.outputs), anchors(net, shapes))
    for entry in reversed(net.nodes):
        wanted = {name for name in entry.output if name in found.whole or name in found.rows}
        anchor = found.anchors.get(entry.output[0])
        if not wanted:
            continue
        if anchor is not None and entry.output[0] in found.whole:
            _ask(found, entry.input[0], anchor.row)
            found.whole.update(name for name in (*entry.input[1:], anchor.places) if name)
            continue
        need = _need(entry, wanted, found, net, shapes)
        if need is None:
            found.whole.update(name for name in entry.input if name)
            continue
        found.narrow[entry.output[0]] = need
        for place, name in enumerate(entry.input):
            if place in need.rows:
                _ask(found, name, need.rows[place])
            elif name and place not in need.stored:
                found.whole.add(name)
    return found


def _ask(found: Demand, name: str, row: Row) -> None:
    found.rows.setdefault(name, set()).add(row)


def _need(entry: onnx.NodeProto, wanted: Iterable[str], found: Demand, net: Net, shapes: Shapes) -> Need | None:
    """Return what a node needs if one row of its first output is all that is asked for."""
    rows = found.rows.get(entry.output[0], set())
    if set(wanted) != {entry.output[0]} or entry.output[0] in found.whole or len(rows) != 1:
        return None
    return needs(entry, next(iter(rows)), net, shapes)


def narrowed(net: Net, shapes: Shapes, demand: Demand) -> Net:
    """Return the graph in which what is needed in one row is computed in that row."""
    build = _Build(shapes)
    renamed: dict[str, str] = {}
    for name in (*net.inputs, *net.stored):
        build.select_all(name, demand)
    for entry in net.nodes:
        out = entry.output[0]
        anchor = demand.anchors.get(out)
        if anchor is not None and out in demand.whole:
            _keep(entry, anchor, build, renamed, net)
        elif out in demand.narrow:
            (row,) = demand.rows[out]
            build.narrow(entry, row, demand.narrow[out])
            continue
        else:
            build.nodes.append(entry)
        for name in entry.output:
            build.select_all(name, demand)
    nodes = [onnx.NodeProto.FromString(entry.SerializeToString()) for entry in build.nodes]
    for entry in nodes:
        entry.input[:] = [renamed.get(name, name) for name in entry.input]
    return with_nodes(net, nodes, build.stored)


def _keep(entry: onnx.NodeProto, anchor: Anchor, build: _Build, renamed: dict[str, str], net: Net) -> None:
    """Read at an anchor what was computed for one row."""
    out, value = entry.output[0], _name(entry.input[0], anchor.row)
    if anchor.squeezed:
        build.nodes.append(node("Squeeze", [value, build.whole([anchor.row.axis])], out))
    elif out in net.outputs:
        build.nodes.append(node("Identity", [value], out))
    else:
        renamed[out] = value


class _Build:
    """Nodes and constants that are being written."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, np.ndarray] = {}

    def narrow(self, entry: onnx.NodeProto, row: Row, need: Need) -> None:
        """Add a node that answers one row."""
        out = _name(entry.output[0], row)
        rank = len(self.shapes.dims[entry.output[0]])
        inputs = []
        for place, name in enumerate(entry.input):
            if place in need.rows:
                inputs.append(_name(name, need.rows[place]))
            elif place in need.spread:
                inputs.append(self.spread(name, row, need.spread[place], rank))
            else:
                inputs.append(self.whole(need.stored[place]) if place in need.stored else name)
        fresh = onnx.NodeProto.FromString(entry.SerializeToString())
        fresh.name = ""
        if entry.op_type == "GRU":
            self._last_state(fresh, row, out)
            return
        fresh.input[:] = inputs
        fresh.output[0] = out
        self.nodes.append(fresh)

    def select_all(self, name: str, demand: Demand) -> None:
        """Add the nodes that take rows of a value that was computed whole."""
        for row in sorted(demand.rows.get(name, ()), key=str):
            self._select(name, row)

    def spread(self, name: str, row: Row, axis: int, rank: int) -> str:
        """Return the rows of a value without a batch axis, one for each row of the batch: [A, 1, …] with `rank` axes."""
        key = f"{name}.{row.position}.spread.{axis}.{rank}"
        size = self.shapes.dims[name]
        taken, rest = f"{key}.taken", len(size) - axis - 1
        self.nodes.append(node("Gather", [name, self.flat(row)], taken, axis=axis))
        if axis:
            self.nodes.append(node("Squeeze", [taken, self.whole(range(axis))], f"{key}.bare"))
            taken = f"{key}.bare"
        self.nodes.append(node("Unsqueeze", [taken, self.whole(range(1, rank - rest))], key))
        return key

    def flat(self, row: Row) -> str:
        """Return the places int64 [A]."""
        key = f"{row.position}.flat"
        if not any(key in entry.output for entry in self.nodes):
            self.nodes.append(node("Reshape", [row.position[1:], self.whole([-1])], key))
        return key

    def whole(self, values: Iterable[int]) -> str:
        """Return a constant int64 vector."""
        array = np.array(list(values), np.int64)
        key = "axes." + ".".join(map(str, array))
        self.stored[key] = array
        return key

    def _select(self, name: str, row: Row) -> None:
        out, size = _name(name, row), self.shapes.dims[name]
        if row.fixed is not None:
            self.nodes.append(node("Gather", [name, self.whole([row.fixed])], out, axis=row.axis))
            return
        places, order = (
            f"{row.position}.places",
            [row.batch, row.axis, *(one for one in range(len(size)) if one not in (row.batch, row.axis))],
        )
        if not any(places in entry.output for entry in self.nodes):
            self.nodes.append(node("Reshape", [row.position[1:], self.whole([-1, 1, 1])], places))
        between = [one for one in range(row.batch + 1, row.axis)]
        if row.batch == 0 and all(size[one] == 1 for one in between):
            self._take(name, out, places, self.whole(between) if between else "")
            return
        self.nodes.append(node("Transpose", [name], f"{out}.front", perm=order))
        self.nodes.append(node("GatherND", [f"{out}.front", places], f"{out}.taken", batch_dims=1))
        self.nodes.append(node("Transpose", [f"{out}.taken"], out, perm=[order.index(one) for one in range(len(size))]))

    def _take(self, name: str, out: str, places: str, between: str) -> None:
        """Take rows of [A, L, …], or of [A, 1, …, 1, L, …]."""
        if not between:
            self.nodes.append(node("GatherND", [name, places], out, batch_dims=1))
            return
        self.nodes.append(node("Squeeze", [name, between], f"{out}.bare"))
        self.nodes.append(node("GatherND", [f"{out}.bare", places], f"{out}.taken", batch_dims=1))
        self.nodes.append(node("Unsqueeze", [f"{out}.taken", between], out))

    def _last_state(self, entry: onnx.NodeProto, row: Row, out: str) -> None:
        """Add a recurrent unit that answers its state after the step asked for: its last one on sequences that end there."""
        self.stored["one"] = np.array(1, np.int64)
        self.nodes.append(node("Add", [self.flat(row), "one"], f"{out}.count"))
        self.nodes.append(node("Cast", [f"{out}.count"], f"{out}.steps", to=onnx.TensorProto.INT32))
        inputs = [*entry.input, *[""] * 6][:6]
        inputs[4] = f"{out}.steps"
        entry.input[:] = inputs if inputs[5] else inputs[:5]
        entry.output[:] = ["", f"{out}.state"]
        self.nodes += [entry, node("Unsqueeze", [f"{out}.state", self.whole([0])], out)]


def _name(value: str, row: Row) -> str:
    return f"{value}.{row.position}.{row.axis}.{row.batch}"
