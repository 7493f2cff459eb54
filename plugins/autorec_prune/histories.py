"""Where an exported graph scores a catalogue from the item-item rows of a history: by a matrix, or by stored neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from autorec_prune.graphs import option

__all__ = ["HistoryScores", "history_scores"]


@dataclass(frozen=True, slots=True)
class HistoryScores:
    """One sum of item-item rows.

    Args:
        out: Value with the scores float32 [A, N].
        zeros: Value float32 [A, N] of zeros.
        items: Value int64 [A, L], item rows.
        weights: Value float32 [A, L].
        values: Initialiser with the matrix [N, N], or with the weights of neighbours [N, n].
        columns: Initialiser with the item rows of neighbours [N, n]; "" for a matrix.
    """

    out: str
    zeros: str
    items: str
    weights: str
    values: str
    columns: str = ""


def history_scores(model: onnx.ModelProto) -> list[HistoryScores]:
    """Return the sums of a graph, in the two forms that `blocks/neighbour-scores` exports."""
    made = {name: node for node in model.graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    sums = [node for node in model.graph.node if _adds_to_zeros(node, made, stored)]
    return [found for node in sums for found in (*_products(node, model, stored), *_neighbours(node, made, stored))]


def _adds_to_zeros(node: onnx.NodeProto, made: dict[str, onnx.NodeProto], stored: dict[str, onnx.TensorProto]) -> bool:
    """Return whether a node adds values up in a row of zeros for each row of its inputs."""
    if node.op_type != "ScatterElements" or option(node, "axis", 0) != 1 or option(node, "reduction", b"none") != b"add":
        return False
    empty = made.get(node.input[0])
    if empty is None or empty.op_type != "Expand" or empty.input[0] not in stored:
        return False
    return not numpy_helper.to_array(stored[empty.input[0]]).any()


def _products(node: onnx.NodeProto, model: onnx.ModelProto, stored: dict[str, onnx.TensorProto]) -> Iterator[HistoryScores]:
    """Yield the products of such sums, taken as histories, with a stored matrix."""
    zeros, items, weights = node.input
    for reader in model.graph.node:
        if reader.op_type == "MatMul" and reader.input[0] == node.output[0] and reader.input[1] in stored:
            yield HistoryScores(reader.output[0], zeros, items, weights, reader.input[1])


def _neighbours(node: onnx.NodeProto, made: dict[str, onnx.NodeProto], stored: dict[str, onnx.TensorProto]) -> Iterator[HistoryScores]:
    """Yield the sum if what it adds are weighed entries of neighbour tables: columns[items] and values[items] * weights, made flat."""
    places = _before(_before(node.input[1], "Reshape", made), "Cast", made)
    rows = made.get(places)
    weighed = made.get(_before(node.input[2], "Reshape", made))
    if rows is None or rows.op_type not in ("Gather", "GatherND") or weighed is None or weighed.op_type != "Mul":
        return
    read, spread = made.get(weighed.input[0]), made.get(weighed.input[1])
    if read is None or spread is None or (read.op_type, spread.op_type) != ("Gather", "Unsqueeze"):
        return
    items = rows.input[1] if rows.op_type == "Gather" else _before(rows.input[1], "Unsqueeze", made)
    columns, values = rows.input[0], read.input[0]
    if items == read.input[1] and columns in stored and values in stored and list(stored[columns].dims) == list(stored[values].dims):
        yield HistoryScores(node.output[0], node.input[0], items, spread.input[0], values, columns)


def _before(value: str, operator: str, made: dict[str, onnx.NodeProto]) -> str:
    """Return what the node of this kind reads that made a value; "" where another made it."""
    node = made.get(value)
    return node.input[0] if node is not None and node.op_type == operator else ""
