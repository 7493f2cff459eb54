"""`sparse-items`: of an item-item matrix, only the entries of largest size in each row are stored, and only those are summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Int
from autorec_prune.graphs import graph_of, is_look_up, option, readers_of, rebuilt, smaller

__all__ = ["SparseItems", "largest_entries"]

_FEWEST = 64  # items below which a matrix is left alone
_SIZES = (256, 128, 64, 32)  # entries a row that are proposed


class SparseItems:
    """Stores a square matrix [N, N] as n values and n columns a row, in standard operators.

    Where the matrix multiplies histories, each a sum of unit vectors (`blocks/neighbour-scores` on EASE, SLIM, directed weights), the
    entries of the history's rows are added up one by one: L · n additions instead of N² products. Rows that are looked up are spread into
    zeros. For any other reader the matrix is rebuilt when the model loads.
    """

    class Config(ComponentConfig):
        """Options."""

        entries: Annotated[int, Int(8, 1024, log=True)] = Field(128, ge=1, le=2**20, description="Entries of each row that are stored.")

    form: ClassVar[Literal["module", "graph"]] = "graph"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield numbers of entries that at most halve the largest square matrix, the most first."""
        sizes = [tensor.dims[0] for tensor in _matrices(graph_of(model))] if model.graph is not None else []
        for entries in _SIZES:
            if sizes and 2 * entries * _bytes(max(sizes)) <= 4 * max(sizes):
                yield self.config.model_copy(update={"entries": entries})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with sparse item-item matrices; the same graph gives the same bytes.

        Raises:
            NotApplicable: There is no square matrix with more entries a row, or the bytes did not shrink.
        """
        plain = graph_of(model)
        found = [tensor for tensor in _matrices(plain) if tensor.dims[0] > self.config.entries]
        if not found:
            raise NotApplicable(f"no item-item matrix has more than {max(self.config.entries, _FEWEST - 1)} entries a row")
        stored: dict[str, np.ndarray] = {}
        for tensor in found:
            columns, values = largest_entries(numpy_helper.to_array(tensor), self.config.entries)
            stored |= {f"{tensor.name}.columns": columns, f"{tensor.name}.values": values}
        sizes = {tensor.name: int(tensor.dims[0]) for tensor in found}
        return smaller(model, rebuilt(plain, _nodes(plain, sizes, stored), stored))


def largest_entries(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (columns uint16 or int32 [N, n] ascending, values float32 [N, n]): the n entries of largest size of each row."""
    columns = np.sort(np.argpartition(-np.abs(matrix), count - 1, axis=1)[:, :count], axis=1)
    return columns.astype(_kind(matrix.shape[1])), np.take_along_axis(matrix, columns, 1).astype(np.float32)


def _kind(items: int) -> type[np.integer]:
    return np.uint16 if items <= 2**16 else np.int32


def _bytes(items: int) -> int:
    """Return the bytes of one entry."""
    return 4 + np.dtype(_kind(items)).itemsize


def _matrices(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return the square float32 initialisers that a product multiplies something by, or that rows are looked up in."""
    readers = readers_of(model)
    square = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2 and t.dims[0] == t.dims[1]]
    large = [tensor for tensor in square if tensor.dims[0] >= _FEWEST]
    histories = _histories(model)
    return [t for t in large if any(_reads(node, t.name, histories) for node in readers.get(t.name, []))]


def _reads(node: onnx.NodeProto, matrix: str, histories: Mapping[str, onnx.NodeProto]) -> bool:
    """Return whether a node reads rows of an item-item matrix: a weight of a perceptron that happens to be square is none."""
    return is_look_up(node, matrix) or _multiplied(node, matrix, histories) is not None


def _histories(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return value → the node that adds weights up in zeros [A, N], one place a step of a history."""
    made = {name: node for node in model.graph.node for name in node.output}
    zeros = {tensor.name for tensor in model.graph.initializer if not numpy_helper.to_array(tensor).any()}
    found = {}
    for node in model.graph.node:
        if node.op_type == "ScatterElements" and option(node, "axis", 0) == 1 and option(node, "reduction", b"none") == b"add":
            empty = made.get(node.input[0])
            if empty is not None and empty.op_type == "Expand" and empty.input[0] in zeros:
                found[node.output[0]] = node
    return found


def _multiplied(node: onnx.NodeProto, matrix: str, histories: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node that made the histories which `node` multiplies by the matrix."""
    product = node.op_type == "MatMul" and node.input[1] == matrix and node.input[0] != matrix
    return histories.get(node.input[0]) if product else None


def _nodes(model: onnx.ModelProto, sizes: Mapping[str, int], stored: dict[str, np.ndarray]) -> Iterator[onnx.NodeProto]:
    """Yield the graph's nodes with every reader of a matrix rewritten; constants that they need are added to `stored`."""
    histories = _histories(model)
    for name, size in sizes.items():
        stored |= {f"{name}.zero": np.zeros((), np.float32), f"{name}.size": np.array([size]), f"{name}.shape": np.array([size, size])}
        yield from _rebuilding(name)  # dropped again where nothing reads the whole matrix
    stored["sparse.last"] = np.array([-1])
    for node in model.graph.node:
        name = next((entry for entry in node.input if entry in sizes), "")
        history = _multiplied(node, name, histories)
        if name and history is not None:
            yield from _added(name, history, node.output[0])
        elif name and is_look_up(node, name):
            yield from _spread(name, node.input[1], node.output[0])
        else:
            yield node


def _added(name: str, history: onnx.NodeProto, out: str) -> Iterator[onnx.NodeProto]:
    """Yield what adds, for every step of a history, its weight times the entries of its row to zeros [A, N]."""
    zeros, items, weights = history.input
    yield from _entries(name, items, out)
    yield helper.make_node("Unsqueeze", [weights, "sparse.last"], [f"{out}.weights"])
    yield helper.make_node("Mul", [f"{out}.values", f"{out}.weights"], [f"{out}.weighed"])
    yield helper.make_node("Flatten", [f"{out}.columns"], [f"{out}.places"], axis=1)
    yield helper.make_node("Flatten", [f"{out}.weighed"], [f"{out}.parts"], axis=1)
    yield helper.make_node("ScatterElements", [zeros, f"{out}.places", f"{out}.parts"], [out], axis=1, reduction="add")


def _spread(name: str, rows: str, out: str) -> Iterator[onnx.NodeProto]:
    """Yield what puts the entries of looked-up rows into zeros [..., N]."""
    yield from _entries(name, rows, out)
    yield helper.make_node("Shape", [rows], [f"{out}.rows"])
    yield helper.make_node("Concat", [f"{out}.rows", f"{name}.size"], [f"{out}.shape"], axis=0)
    yield helper.make_node("Expand", [f"{name}.zero", f"{out}.shape"], [f"{out}.zeros"])
    yield helper.make_node("ScatterElements", [f"{out}.zeros", f"{out}.columns", f"{out}.values"], [out], axis=-1)


def _entries(name: str, rows: str, out: str) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Gather", [f"{name}.columns", rows], [f"{out}.short"], axis=0)
    yield helper.make_node("Cast", [f"{out}.short"], [f"{out}.columns"], to=onnx.TensorProto.INT64)
    yield helper.make_node("Gather", [f"{name}.values", rows], [f"{out}.values"], axis=0)


def _rebuilding(name: str) -> Iterator[onnx.NodeProto]:
    """Yield what makes the whole matrix of constants alone: onnxruntime does it once, when the model loads."""
    yield helper.make_node("Expand", [f"{name}.zero", f"{name}.shape"], [f"{name}.zeros"])
    yield helper.make_node("Cast", [f"{name}.columns"], [f"{name}.places"], to=onnx.TensorProto.INT64)
    yield helper.make_node("ScatterElements", [f"{name}.zeros", f"{name}.places", f"{name}.values"], [name], axis=1)
