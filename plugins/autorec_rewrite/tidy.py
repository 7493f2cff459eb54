"""Nodes that compute nothing new: constants, arithmetic on shapes, equal parts, and moves that undo each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import ITEMS
from autorec_rewrite.moves import MOVES, Move
from autorec_rewrite.net import Net, bytes_of, makers, node, readers, with_nodes
from autorec_rewrite.probe import Shapes, Size, probed, run, told_once

__all__ = ["Sizes", "applied", "tidied"]

_ROUNDS = 8
_TINY = 256  # bytes up to which a constant costs less than the nodes that make it
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def tidied(net: Net, model: CompressedModel) -> Net:
    """Return a graph of the same function with fewer nodes."""
    for _ in range(_ROUNDS):
        count = len(net.nodes)
        net = _shapes(net, probed(net, model))
        net = _equal(_constants(net))
        net = _moved(net, probed(net, model))
        if len(net.nodes) >= count:
            break
    return net


def _constants(net: Net) -> Net:
    """Compute what depends on no input, where the result takes no more bytes than what it is made of; item vectors stay a look-up."""
    made, read = makers(net), readers(net)
    fixed: set[str] = set(net.stored)
    for entry in net.nodes:
        if entry.op_type not in _RANDOM and all(not name or name in fixed for name in entry.input):
            fixed.update(name for name in entry.output if name)
    ends = [
        name
        for name in fixed & set(made) - {ITEMS}
        if name in net.outputs or any(set(reader.output) - fixed for reader in read.get(name, ()))
    ]
    if not ends:
        return net
    found = run(bytes_of(_only(net, sorted(ends))), {})
    chosen = {name: value for name, value in found.items() if value.nbytes <= _TINY or value.nbytes <= _freed(name, net, made, read, fixed)}
    return with_nodes(net, [entry for entry in net.nodes if not set(entry.output) & set(chosen)], chosen)


def _only(net: Net, names: Sequence[str]) -> Net:
    """Return the graph that answers these values from nothing."""
    model = onnx.ModelProto()
    model.CopyFrom(net.model)
    model.graph.ClearField("input")
    model.graph.ClearField("output")
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return with_nodes(Net(model, net.nodes, net.stored), net.nodes)


def _freed(name: str, net: Net, made: Mapping[str, onnx.NodeProto], read: Mapping[str, Sequence[onnx.NodeProto]], fixed: set[str]) -> int:
    """Return the bytes of constants that nothing reads any more once a value is stored."""
    inside, waiting = set[str](), [name]
    while waiting:
        entry = made.get(waiting.pop())
        if entry is not None and not set(entry.output) <= inside:
            inside.update(entry.output)
            waiting += entry.input
    sources = {source for value in inside if value in made for source in made[value].input if source in net.stored}
    alone = [source for source in sources if all(set(reader.output) <= inside for reader in read[source]) and source not in net.outputs]
    return sum(value.nbytes for source in alone if (value := net.array(source)) is not None)


def _equal(net: Net) -> Net:
    """Keep one of equal constants, and one of nodes that do the same to the same values."""
    names: dict[str, str] = {}
    known: dict[bytes, str] = {}
    for name, tensor in net.stored.items():
        plain = onnx.TensorProto()
        plain.CopyFrom(tensor)
        plain.name = ""
        names[name] = known.setdefault(plain.SerializeToString(deterministic=True), name)
    done: dict[bytes, Sequence[str]] = {}
    nodes = []
    for entry in net.nodes:
        copy = onnx.NodeProto.FromString(entry.SerializeToString())
        copy.input[:] = [names.get(name, name) for name in entry.input]
        mark = onnx.NodeProto(op_type=copy.op_type, domain=copy.domain, input=copy.input, attribute=copy.attribute)
        first = done.setdefault(mark.SerializeToString(deterministic=True), list(copy.output))
        if copy.op_type in _RANDOM or first == list(copy.output) or set(copy.output) & set(net.outputs) or len(first) != len(copy.output):
            nodes.append(copy)
        else:
            names |= dict(zip(copy.output, first, strict=True))
    return with_nodes(net, nodes)


def _shapes(net: Net, shapes: Shapes) -> Net:
    """Write numbers that depend on nothing but shapes as constants, or as few sizes of inputs."""
    made, read, plain = makers(net), readers(net), _of_shapes(net, shapes)
    ends = {name for name in plain if any(set(reader.output) - plain.keys() for reader in read.get(name, ()))}
    builder = Sizes(net, shapes)
    nodes = []
    for entry in net.nodes:
        copy = onnx.NodeProto.FromString(entry.SerializeToString())
        for place, name in enumerate(entry.input):
            if name in ends and (
                made[name].op_type != "Shape" or len(shapes.numbers[name]) > 1 or isinstance(shapes.numbers[name][0], int)
            ):
                copy.input[place] = builder.value(name, whole=not (entry.op_type == "Reshape" and place == 1))
        nodes.append(copy)
    return with_nodes(net, [*nodes, *builder.nodes.values()], builder.stored)


def _of_shapes(net: Net, shapes: Shapes) -> dict[str, None]:
    """Return the small int64 values that depend on nothing but shapes, in order."""
    plain: dict[str, None] = {}
    for entry in net.nodes:
        if entry.op_type == "Shape" or all(name in plain or name in net.stored for name in entry.input if name):
            plain |= dict.fromkeys(name for name in entry.output if name in shapes.numbers)
    return plain


class Sizes:
    """Values of int64 from constants and sizes of inputs, each made once."""

    def __init__(self, net: Net, shapes: Shapes) -> None:
        self.shapes = shapes
        self.nodes: dict[str, onnx.NodeProto] = {}
        self.stored: dict[str, np.ndarray] = {}
        given = [(name, axis, size) for name in reversed(net.inputs) for axis, size in enumerate(shapes.dims[name])]
        self.sources = {size: (name, axis) for name, axis, size in given if isinstance(size, tuple)}
        if told_once(net):  # two inputs may have as many rows at every probe, and yet not always
            self.sources = {size: found for size, found in self.sources.items() if found[1] != 0}
        alone = [name for name in reversed(_of_shapes(net, shapes)) if len(shapes.dims[name]) == 1]
        self.computed = {shapes.numbers[name][0]: name for name in alone if len(shapes.numbers[name]) == 1}

    def knows(self, numbers: Sequence[Size]) -> bool:
        """Return whether `row` can be asked for these numbers."""
        return all(isinstance(number, int) or number in self.sources or number in self.computed for number in numbers)

    def value(self, name: str, *, whole: bool) -> str:
        """Return a value with the numbers of `name`.

        Args:
            whole: Whether every number counts; else one may be -1, which a Reshape finds out.
        """
        numbers, rank = self.shapes.numbers[name], len(self.shapes.dims[name])
        free = [number for number in numbers if not isinstance(number, int)]
        if not free or (len(free) == 1 and not whole and -1 not in numbers):
            flat = np.array([number if isinstance(number, int) else -1 for number in numbers], np.int64)
            return self._constant(flat.reshape(()) if rank == 0 else flat)
        if rank != 1 or not all(number in self.sources for number in free):
            return name
        return self.row(numbers)

    def row(self, numbers: Sequence[Size]) -> str:
        """Return a vector of these numbers; each free one is the size of an input's axis."""
        key = "sizes." + ".".join(str(number) if isinstance(number, int) else "_".join(map(str, number)) for number in numbers)
        if key not in self.nodes:
            parts = [self._constant(np.array([n], np.int64)) if isinstance(n, int) else self._size(n) for n in numbers]
            if len(parts) == 1:
                return parts[0]
            self.nodes[key] = node("Concat", parts, key, axis=0)
        return key

    def _size(self, number: tuple[int, ...]) -> str:
        if number not in self.sources:
            return self.computed[number]
        name, axis = self.sources[number]
        key = f"size.{name}.{axis}"
        self.nodes.setdefault(key, node("Shape", [name], key, start=axis, end=axis + 1))
        return key

    def _constant(self, value: np.ndarray) -> str:
        key = f"whole.{value.ndim}." + ".".join(map(str, value.ravel()))
        self.stored[key] = value
        return key


def _moved(net: Net, shapes: Shapes) -> Net:
    """Apply the moves, each to the graph that the one before it left."""
    for move in MOVES:
        net = applied(net, shapes, move)
    return net


def applied(net: Net, shapes: Shapes, move: Move) -> Net:
    """Return the graph with a move made wherever it can be."""
    made = makers(net)
    names: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    stored: dict[str, np.ndarray] = {}
    for entry in net.nodes:
        copy = onnx.NodeProto.FromString(entry.SerializeToString())
        copy.input[:] = [names.get(name, name) for name in entry.input]
        found = move(copy, made, net, shapes, stored)
        if isinstance(found, str) and copy.output[0] not in net.outputs:
            names[copy.output[0]] = found
            continue
        fresh = found if isinstance(found, list) else [copy]
        nodes += fresh
        made |= {name: one for one in fresh for name in one.output if name}
    return with_nodes(net, nodes, stored)
