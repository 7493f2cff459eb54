"""`sparse-items`: of an item-item matrix, only the entries of largest size in each row are stored, and only those are summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Int
from autorec_prune.graphs import graph_of, is_look_up, readers_of, rebuilt, smaller
from autorec_prune.histories import HistoryScores, history_scores

__all__ = ["SparseItems", "largest_entries"]

_FEWEST = 64  # items below which a matrix is left alone
_SIZES = (256, 128, 64, 32)  # entries a row that are proposed
Tables = dict[str, tuple[np.ndarray, np.ndarray]]  # initialiser of values → (columns [N, n], values [N, n])


class SparseItems:
    """Stores a square matrix [N, N] as n values and n columns a row, in standard operators; stored neighbours are cut to n a row.

    Where the matrix multiplies histories, each a sum of unit vectors (`blocks/neighbour-scores` on EASE, SLIM, directed weights), the
    entries of the history's rows are added up one by one: L · n additions instead of N² products. Rows that are looked up are spread into
    zeros. For any other reader the matrix is rebuilt when the model loads. Columns take two bytes in catalogues of up to 65,536 rows.
    """

    class Config(ComponentConfig):
        """Options."""

        entries: Annotated[int, Int(8, 1024, log=True)] = Field(128, ge=1, le=2**20, description="Most entries of a row that are stored.")

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield numbers of entries that at most halve the widest rows, the most first; before them all neighbours, in fewer bytes each."""
        graph = graph_of(model) if model.graph is not None else onnx.ModelProto()
        tables = _tables(graph, history_scores(graph))
        items = max((len(values) for _, values in tables.values()), default=0)
        most = max((values.shape[1] for _, values in tables.values()), default=0)
        if most < items and items <= 2**16:
            yield self.config.model_copy(update={"entries": most})
        for entries in _SIZES:
            if 2 * entries * _bytes(items) <= (4 if most == items else 8) * most:
                yield self.config.model_copy(update={"entries": entries})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with sparse item-item matrices; the same graph gives the same bytes.

        Raises:
            NotApplicable: There is no item-item matrix, or the bytes did not shrink.
        """
        plain = graph_of(model)
        scores = history_scores(plain)
        tables = _tables(plain, scores)
        if not tables:
            raise NotApplicable(f"no item-item matrix of {_FEWEST} items or more is multiplied by histories or looked up")
        stored: dict[str, np.ndarray] = {"sparse.last": np.array([-1])}
        for name, (columns, values) in tables.items():
            near, weights = largest_entries(values, min(self.config.entries, values.shape[1]))
            near = np.take_along_axis(columns, near.astype(np.int64), 1).astype(_kind(len(values)))
            stored |= {f"{name}.columns": near, f"{name}.values": weights, f"{name}.zero": np.zeros((), np.float32)}
            stored |= {f"{name}.size": np.array([len(values)]), f"{name}.shape": np.array([len(values), len(values)])}
        return smaller(model, rebuilt(plain, _nodes(plain, scores, tables), stored))


def largest_entries(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (columns uint16 or int32 [R, n] ascending, values float32 [R, n]): the n entries of largest size of each row [R, N]."""
    columns = np.sort(np.argpartition(-np.abs(matrix), count - 1, axis=1)[:, :count], axis=1)
    return columns.astype(_kind(matrix.shape[1])), np.take_along_axis(matrix, columns, 1).astype(np.float32)


def _kind(items: int) -> type[np.integer]:
    return np.uint16 if items <= 2**16 else np.int32


def _bytes(items: int) -> int:
    """Return the bytes of one entry."""
    return 4 + np.dtype(_kind(items)).itemsize


def _tables(model: onnx.ModelProto, scores: list[HistoryScores]) -> Tables:
    """Return the item-item matrices that histories multiply or rows are looked up in, and the neighbours that histories sum.

    A weight of a perceptron that happens to be square is none.
    """
    readers, known = readers_of(model), {score.values: score for score in scores}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found: Tables = {}
    for name, tensor in stored.items():
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2 or tensor.dims[0] < _FEWEST:
            continue
        score = known.get(name)
        if score is not None and score.columns and len(readers[name]) == 1:
            found[name] = numpy_helper.to_array(stored[score.columns]).astype(np.int64), numpy_helper.to_array(tensor)
        elif tensor.dims[0] == tensor.dims[1] and (score is not None or any(is_look_up(node, name) for node in readers.get(name, []))):
            found[name] = np.broadcast_to(np.arange(tensor.dims[1]), tuple(tensor.dims)), numpy_helper.to_array(tensor)
    return found


def _nodes(model: onnx.ModelProto, scores: list[HistoryScores], tables: Tables) -> Iterator[onnx.NodeProto]:
    """Yield the graph's nodes with every reader of a table rewritten; what nobody reads any longer is dropped afterwards."""
    added = {score.out: score for score in scores if score.values in tables}
    square = {name for name, (_, values) in tables.items() if len(values) == values.shape[1]}
    for name in square:
        yield from _rebuilding(name)
    for node in model.graph.node:
        if node.output[0] in added:
            yield from _added(added[node.output[0]])
        elif node.input and node.input[0] in square and is_look_up(node, node.input[0]):
            yield from _spread(node.input[0], node.input[1], node.output[0])
        else:
            yield node


def _added(score: HistoryScores) -> Iterator[onnx.NodeProto]:
    """Yield what adds, for every step of a history, its weight times the entries of its row to zeros [A, N]."""
    out = score.out
    yield from _entries(score.values, score.items, out)
    yield helper.make_node("Unsqueeze", [score.weights, "sparse.last"], [f"{out}.weights"])
    yield helper.make_node("Mul", [f"{out}.values", f"{out}.weights"], [f"{out}.weighed"])
    yield helper.make_node("Flatten", [f"{out}.columns"], [f"{out}.places"], axis=1)
    yield helper.make_node("Flatten", [f"{out}.weighed"], [f"{out}.parts"], axis=1)
    yield helper.make_node("ScatterElements", [score.zeros, f"{out}.places", f"{out}.parts"], [out], axis=1, reduction="add")


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
