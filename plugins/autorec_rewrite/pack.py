"""`packed-inputs`: features that the graph puts side by side are one input, put side by side by numpy before the call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar, Literal

import numpy as np
import onnx

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import PACKED, Graph
from autorec_rewrite.joins import flattened, nested
from autorec_rewrite.net import Net, bytes_of, makers, net_of, node, option, readers, with_nodes
from autorec_rewrite.probe import feeds, probed
from autorec_rewrite.tidy import applied

__all__ = ["PackedInputs"]

_BATCHES = (1, 9)
_SEED = 20_261_123


class PackedInputs:
    """Makes one input of the numeric columns that a Concat joins, and one of the ids that it stacks; offsets are added in one step.

    Lists of fields that are flattened afterwards are joined as flat rows, beside the numbers that they were joined with later.

    A session takes about a microsecond and a half for each input, more than most nodes. The new input is named after its features, with
    `PACKED` between the names, and a `Graph` fills it; features that the graph reads elsewhere too keep an input of their own.
    """

    class Config(ComponentConfig):
        """No options."""

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 8  # what looks for features by their names comes before
    exact: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the one setting where a graph joins two inputs."""
        if model.graph is not None and any(True for _ in _runs(net_of(model))):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with fewer inputs; the same graph gives the same bytes.

        Raises:
            NotApplicable: No two inputs are joined, or an answer would change.
        """
        net = net_of(model)
        if not any(True for _ in _runs(net)):
            raise NotApplicable("no two inputs are joined by the graph")
        flat = net
        for move in (flattened, nested):
            flat = applied(flat, probed(flat, model), move)
        packed, plain = (sum(len(run.features) for run in _runs(one)) for one in (flat, net))
        best = flat if packed >= plain else net  # a field that is listed twice stands twice in the flat rows
        graph = _packed(best, list(_runs(best)))
        _check(model, net, graph)
        return replace(model, graph=graph)


@dataclass(frozen=True, slots=True)
class _Run:
    """Inputs that stand side by side in a Concat.

    Args:
        place: Of the first in the Concat.
        offsets: What is added to ids; none for numeric columns.
    """

    joined: str
    place: int
    features: tuple[str, ...]
    offsets: tuple[int, ...] = ()

    @property
    def port(self) -> str:
        """Return the name of the new input."""
        return PACKED.join(self.features)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one input of a Concat is made of; `axis` is the first axis of the feature."""

    feature: str
    axis: str
    offset: int | None = None


def _runs(net: Net) -> Iterator[_Run]:
    """Yield two inputs or more that stand side by side in a Concat of columns, and are read by nothing else."""
    inputs = {value.name: value.type.tensor_type for value in net.model.graph.input}
    made, read = makers(net), readers(net)
    for entry in net.nodes:
        if entry.op_type != "Concat" or option(entry, "axis", 0) not in (1, -1) or len(set(entry.input)) < len(entry.input):
            continue
        parts = [_part(name, inputs, net, made, read) for name in entry.input]
        kinds = [(part.axis, part.offset is None) if part else None for part in parts]
        for kind, places in groupby(range(len(parts)), key=lambda place: kinds[place]):
            found = [(place, part) for place in places if (part := parts[place]) is not None]
            if kind is not None and len(found) > 1:
                offsets = tuple(part.offset for _, part in found if part.offset is not None)
                yield _Run(entry.output[0], found[0][0], tuple(part.feature for _, part in found), offsets)


def _part(
    name: str,
    inputs: Mapping[str, onnx.TypeProto.Tensor],
    net: Net,
    made: Mapping[str, onnx.NodeProto],
    read: Mapping[str, list[onnx.NodeProto]],
) -> _Part | None:
    """Return the feature float32 [A, w] or id int64 [A], plus an offset, that an input of a Concat is; None for anything else."""
    if len(read[name]) != 1 or name in net.outputs or PACKED in name:
        return None
    if name in inputs:
        kind = inputs[name]
        dims = kind.shape.dim
        plain = kind.elem_type == onnx.TensorProto.FLOAT and len(dims) == 2 and dims[1].dim_value > 0
        return _Part(name, dims[0].dim_param) if plain and dims[0].dim_param else None
    column, offset = made.get(name), 0
    if column is None or column.op_type != "Unsqueeze" or net.whole(column.input[1]) not in ([1], [-1]):
        return None
    name = column.input[0]
    moved = made.get(name)
    if moved is not None and moved.op_type == "Add" and len(read[name]) == 1 and len(shift := net.whole(moved.input[1]) or []) == 1:
        name, offset = moved.input[0], shift[0]
    if name not in inputs or len(read[name]) != 1 or PACKED in name:
        return None
    kind = inputs[name]
    plain = kind.elem_type == onnx.TensorProto.INT64 and len(kind.shape.dim) == 1 and bool(kind.shape.dim[0].dim_param)
    return _Part(name, kind.shape.dim[0].dim_param, offset) if plain else None


def _packed(net: Net, runs: list[_Run]) -> bytes:
    by_concat: dict[str, list[_Run]] = {}
    for run in runs:
        by_concat.setdefault(run.joined, []).append(run)
    nodes, stored, names = list[onnx.NodeProto](), dict[str, np.ndarray](), dict[str, str]()
    for entry in net.nodes:
        found = by_concat.get(entry.output[0], [])
        parts: list[str | None] = list(entry.input)
        for run in found:
            source = run.port
            if any(run.offsets):
                source, offset = f"{run.joined}.{run.place}.rows", f"{run.joined}.{run.place}.offsets"
                stored[offset] = np.array(run.offsets, np.int64)
                nodes.append(node("Add", [run.port, offset], source))
            parts[run.place : run.place + len(run.features)] = [source, *[None] * (len(run.features) - 1)]
        left = [part for part in parts if part is not None]
        if found and len(left) == 1 and entry.output[0] not in net.outputs:
            names[entry.output[0]] = left[0]
        elif found:
            nodes.append(node("Concat", left, entry.output[0], axis=1))
        else:
            nodes.append(onnx.NodeProto.FromString(entry.SerializeToString()))
    for entry in nodes:
        entry.input[:] = [names.get(name, name) for name in entry.input]
    return bytes_of(with_nodes(net, nodes, stored), inputs=_inputs(net, runs))


def _inputs(net: Net, runs: list[_Run]) -> list[onnx.ValueInfoProto]:
    """Return the inputs of the packed graph: a port stands where the first of its features stood."""
    first = {run.features[0]: run for run in runs}
    gone = {name for run in runs for name in run.features}
    found = []
    for value in net.model.graph.input:
        if value.name in first:
            found.append(_port(net, first[value.name]))
        elif value.name not in gone:
            found.append(value)
    return found


def _port(net: Net, run: _Run) -> onnx.ValueInfoProto:
    shapes = {value.name: value.type.tensor_type for value in net.model.graph.input}
    kind = shapes[run.features[0]]
    width = len(run.features) if run.offsets else sum(shapes[name].shape.dim[1].dim_value for name in run.features)
    return onnx.helper.make_tensor_value_info(run.port, kind.elem_type, [kind.shape.dim[0].dim_param, width])


def _check(model: CompressedModel, before: Net, graph: bytes) -> None:
    """Compare both graphs on random inputs, bit for bit.

    Raises:
        NotApplicable: An answer differs.
    """
    spec, rng = graph_spec(model.model.module), np.random.default_rng(_SEED)
    graphs = [Graph(data, {**spec, "inputs": before.inputs}) for data in (model.graph or b"", graph)]
    for turn, batch in enumerate(_BATCHES):
        rows = feeds(before, model, batch, rng, turn=turn)
        expected, found = (one.run(rows) for one in graphs)
        if any(not np.array_equal(value, found[name], equal_nan=True) for name, value in expected.items()):
            raise NotApplicable("the packed graph answers differently")
