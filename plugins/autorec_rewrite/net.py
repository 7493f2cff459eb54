"""A graph in hand: nodes in order of computation and constants by name, and the way back to bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.records.model import CompressedModel

__all__ = ["Net", "bytes_of", "makers", "net_of", "node", "option", "readers", "with_nodes"]

_SUBGRAPHS = ("Loop", "Scan", "If")


@dataclass(frozen=True, slots=True)
class Net:
    """A graph without its wrapping.

    Args:
        model: Where inputs, outputs and operator sets come from.
        nodes: In any order; `bytes_of` sorts them.
        stored: Constants by name.
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    stored: Mapping[str, onnx.TensorProto]

    @property
    def inputs(self) -> list[str]:
        """Return the names of the inputs."""
        return [value.name for value in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Return the names of the outputs."""
        return [value.name for value in self.model.graph.output]

    def array(self, name: str) -> np.ndarray | None:
        """Return a constant; None where the value is none."""
        return numpy_helper.to_array(self.stored[name]) if name in self.stored else None

    def whole(self, name: str) -> list[int] | None:
        """Return a constant of int64 as a flat list; None where the value is none."""
        found = self.array(name)
        return None if found is None or found.dtype != np.int64 else [int(value) for value in found.ravel()]

    def reads(self, name: str) -> int:
        """Return how often nodes and outputs read a value."""
        return sum(list(one.input).count(name) for one in self.nodes) + self.outputs.count(name)


def net_of(model: CompressedModel) -> Net:
    """Return the model's graph.

    Raises:
        NotApplicable: It has none yet, or one with branches or loops.
    """
    if model.graph is None:
        raise NotApplicable("the model has no exported graph yet")
    found = onnx.ModelProto.FromString(model.graph)
    if any(entry.op_type in _SUBGRAPHS for entry in found.graph.node):
        raise NotApplicable("the graph holds branches or loops, which are not rewritten")
    return Net(found, tuple(found.graph.node), {tensor.name: tensor for tensor in found.graph.initializer})


def with_nodes(net: Net, nodes: Iterable[onnx.NodeProto], stored: Mapping[str, np.ndarray] | None = None) -> Net:
    """Return the graph with these nodes, sorted, and these constants beside its own; what no output reaches is left out."""
    tensors = {**net.stored, **{name: numpy_helper.from_array(np.asarray(value), name) for name, value in (stored or {}).items()}}
    made = {name: entry for entry in nodes for name in entry.output if name}
    ordered: dict[int, onnx.NodeProto] = {}
    waiting = [(name, False) for name in reversed(net.outputs)]
    while waiting:
        name, ready = waiting.pop()
        entry = made.get(name)
        if entry is None or id(entry) in ordered:
            continue
        if ready:
            ordered[id(entry)] = entry
        else:
            waiting.append((name, True))
            waiting += [(source, False) for source in reversed(entry.input) if source]
    used = {name for entry in ordered.values() for name in entry.input} | set(net.outputs)
    kept = {name: tensor for name, tensor in tensors.items() if name in used and name not in made}
    return Net(net.model, tuple(ordered.values()), kept)


def bytes_of(net: Net, *, inputs: Sequence[onnx.ValueInfoProto] | None = None) -> bytes:
    """Return the serialised graph; the same graph gives the same bytes."""
    tidy = with_nodes(net, net.nodes)
    ends = net.model.graph.input if inputs is None else inputs
    graph = helper.make_graph(list(tidy.nodes), "serving", ends, net.model.graph.output, list(tidy.stored.values()))
    return normalise(helper.make_model(graph, opset_imports=net.model.opset_import, ir_version=net.model.ir_version))


def makers(net: Net) -> dict[str, onnx.NodeProto]:
    """Return value → the node that makes it."""
    return {name: entry for entry in net.nodes for name in entry.output if name}


def readers(net: Net) -> dict[str, list[onnx.NodeProto]]:
    """Return value → the nodes that read it."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for entry in net.nodes:
        for name in dict.fromkeys(entry.input):
            found.setdefault(name, []).append(entry)
    return found


def node(operator: str, inputs: Sequence[str], output: str, **options: Any) -> onnx.NodeProto:
    """Return a node of one output."""
    return helper.make_node(operator, list(inputs), [output], **options)


def option(entry: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    return next((helper.get_attribute_value(found) for found in entry.attribute if found.name == name), default)
