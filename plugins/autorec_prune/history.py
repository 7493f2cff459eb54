"""`history`: of each history the latest steps are read, and the positions of older ones go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.space import Int
from autorec_prune.graphs import graph_of, is_look_up, readers_of, rebuilt, smaller

__all__ = ["RecentSteps"]

_LEAST = 8
_BEHIND = 1  # steps that a network may put behind a history: a mask, a candidate
_ROWS = 4
_SEED = 20_261_123


class RecentSteps:
    """Cuts histories int64 [A, L] inside the graph to their latest steps: attention over a quarter of them costs a sixteenth.

    The graph still accepts every length. It is cut where a table is looked up by a clipped age, the positions of a transformer, whose
    rows go with the ages. The cut graph is put to the test: older steps change no answer any more, and histories that are short enough
    get the answers that they had.
    """

    class Config(ComponentConfig):
        """Options."""

        steps: Annotated[int, Int(_LEAST, 512, log=True)] = Field(
            50, ge=1, le=2**20, description="Latest steps of a history that are read."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield a half and a quarter of the positions that the graph knows, where an input is a history of any length."""
        graph = graph_of(model) if model.graph is not None else onnx.ModelProto()
        names = _histories(model, graph)
        longest = max((table.dims[0] for table, _ in _positions(graph, names)), default=0)
        for steps in (longest // 2, longest // 4):
            if steps >= _LEAST:
                yield self.config.model_copy(update={"steps": steps})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model that reads the latest steps; the same graph gives the same bytes.

        Raises:
            NotApplicable: No input is a history of any length, the graph knows no more positions, reads no older steps anyway, or would
                answer short histories otherwise.
        """
        plain = graph_of(model)
        names = _histories(model, plain)
        if not names:
            raise NotApplicable("no input is a history of any length")
        shorter = {table.name: (table, clip) for table, clip in _positions(plain, names) if table.dims[0] > self.config.steps + _BEHIND}
        if not shorter:
            raise NotApplicable(f"the graph has no table of more than {self.config.steps} positions")
        found = smaller(model, self._cut(plain, names, shorter))
        self._check(model, context, names, found.graph or b"")
        return found

    def _cut(self, plain: onnx.ModelProto, names: list[str], shorter: Mapping[str, tuple[onnx.TensorProto, str]]) -> onnx.ModelProto:
        keep = self.config.steps
        stored: dict[str, np.ndarray] = {"latest.steps": np.arange(keep)[None], "latest.keep": np.array([[keep]])}
        stored |= {"latest.axis": np.array([1]), "latest.none": np.array(0), "latest.pads": np.array([0, 0, 0, keep])}
        front = [node for name in names for node in _latest(name)]
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in plain.graph.node]
        for node in nodes:
            node.input[:] = [f"{name}.latest" if name in names else name for name in node.input]
        for table, clip in shorter.values():
            stored[f"{table.name}.latest"] = numpy_helper.to_array(table)[: keep + _BEHIND]
            stored[f"{clip}.latest"] = np.array(keep + _BEHIND - 1)
        clips = {clip for _, clip in shorter.values()}
        for node in nodes:
            if node.op_type == "Clip" and node.output[0] in clips:
                node.input[2] = f"{node.output[0]}.latest"
            elif node.input and node.input[0] in shorter:
                node.input[0] = f"{node.input[0]}.latest"
        return rebuilt(plain, [*front, *nodes], stored)

    def _check(self, model: CompressedModel, context: CompressionContext, names: list[str], cut: bytes) -> None:
        """Compare both graphs on histories with and without older steps.

        Raises:
            NotApplicable: See `compress`.
        """
        keep, rng, spec = self.config.steps, np.random.default_rng(_SEED), graph_spec(model.model.module)
        before, after = (Graph(graph, spec) for graph in (model.graph or b"", cut))
        rest = {name: _tiled(np.asarray(value)) for name, value in context.sample.items() if name in before.inputs and name not in names}
        sizes = {name: model.model.features[name].size for name in names}
        long = {name: rng.integers(1, max(2, size), (_ROWS, 2 * keep)) for name, size in sizes.items()}
        other = {name: np.concatenate([value[::-1, :keep], value[:, keep:]], 1) for name, value in long.items()}
        short = {name: value[:, keep:] for name, value in long.items()}
        if _gap(before.run({**rest, **long}), before.run({**rest, **short})) == 0.0:
            raise NotApplicable(f"the model reads no more than {keep} steps anyway")
        if _gap(after.run({**rest, **long}), after.run({**rest, **other})) > 0.0:
            raise NotApplicable("older steps are still read")
        ends = np.arange(keep)[None] < np.array([[keep], [keep - 1], [1], [0]])
        padded = {name: np.where(ends, value, 0) for name, value in short.items()}
        if _gap(before.run({**rest, **padded}), after.run({**rest, **padded})) > 1e-5:
            raise NotApplicable("histories that are short enough would be answered otherwise")


def _histories(model: CompressedModel, graph: onnx.ModelProto) -> list[str]:
    """Return the inputs of a graph that are histories of any length."""
    kinds = {feature.name for feature in model.model.features.of("history")}
    axes = {value.name: value.type.tensor_type.shape.dim for value in graph.graph.input}
    return [name for name, dims in axes.items() if name in kinds and len(dims) == 2 and not dims[1].dim_value]


def _latest(name: str) -> list[onnx.NodeProto]:
    """Return the nodes from an input int64 [A, L] to its latest K steps, right-padded with 0."""
    part = f"{name}.latest"
    return [
        helper.make_node("Sign", [name], [f"{part}.ones"]),
        helper.make_node("ReduceSum", [f"{part}.ones", "latest.axis"], [f"{part}.length"], keepdims=1),
        helper.make_node("Sub", [f"{part}.length", "latest.keep"], [f"{part}.more"]),
        helper.make_node("Max", [f"{part}.more", "latest.none"], [f"{part}.start"]),
        helper.make_node("Add", [f"{part}.start", "latest.steps"], [f"{part}.place"]),
        helper.make_node("Pad", [name, "latest.pads"], [f"{part}.padded"]),
        helper.make_node("GatherElements", [f"{part}.padded", f"{part}.place"], [part], axis=1),
    ]


def _positions(graph: onnx.ModelProto, histories: list[str]) -> list[tuple[onnx.TensorProto, str]]:
    """Return tables [K, D] that one look-up reads by an age clipped to 0…K - 1, which histories alone decide, with the clipped value."""
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    clips = {node.output[0]: node for node in graph.graph.node if node.op_type == "Clip" and len(node.input) == 3}
    read, found = readers_of(graph), []
    given = {value.name for value in graph.graph.input}
    for name, clip in clips.items():
        if not _sources(graph, name) & given <= set(histories):
            continue
        (node, *others), highest = read[name], stored.get(clip.input[2])
        table = stored.get(node.input[0])
        if table is None or highest is None or others or len(read[table.name]) > 1 or not is_look_up(node, table.name):
            continue
        if int(numpy_helper.to_array(highest)) == table.dims[0] - 1:
            found.append((table, name))
    return found


def _sources(graph: onnx.ModelProto, name: str) -> set[str]:
    """Return the values that a value is made of."""
    found = {name}
    for node in reversed(graph.graph.node):  # nodes stand in the order in which they are computed
        if found & set(node.output):
            found.update(node.input)
    return found


def _tiled(value: np.ndarray) -> np.ndarray:
    return value[np.arange(_ROWS) % len(value)]


def _gap(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Return the largest difference of the outputs, relative to max(1, |y|)."""
    return max(float((np.abs(one[name] - other[name]) / np.maximum(1.0, np.abs(one[name]))).max(initial=0.0)) for name in one)
