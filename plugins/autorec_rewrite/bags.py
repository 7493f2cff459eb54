"""Sums and means of small bags: the rows of their table say themselves whether they count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.net import Net, makers, node, option, readers, with_nodes

__all__ = ["bags_counted"]

_SMALL = 4096  # bytes of a table up to which it may stand beside the one that it was a part of; quantisation leaves these alone


@dataclass(frozen=True, slots=True)
class _Bag:
    """A masked sum of looked-up rows: `total` = sum of the rows of ids that are not 0, `count` = how many these are ("" = unread)."""

    ids: str
    table: np.ndarray
    total: str
    count: str


def bags_counted(net: Net, model: CompressedModel) -> Net:
    """Return a graph that sums rows of a table of the bag's own: row 0 is 0, and a last column counts.

    A bag was looked up, compared with the padding, masked and summed, and its mask was summed too: now it is looked up and summed. The
    same numbers are added in the same order, and zeros, so no bit changes.
    """
    made, read = makers(net), readers(net)
    sizes = {feature.name: feature.size for feature in model.model.features.features}
    bags = {one.name: sizes[one.name] for one in net.model.graph.input if len(one.type.tensor_type.shape.dim) == 2 and one.name in sizes}
    found = {entry.output[0]: bag for entry in net.nodes if (bag := _bag(entry, net, made, read, bags)) is not None}
    gone = {name for bag in found.values() for name in (bag.total, bag.count) if name}
    nodes, stored = [entry for entry in net.nodes if not gone & set(entry.output)], dict[str, np.ndarray]()
    for name, bag in found.items():
        rows, axis, parts = f"{name}.rows", f"{name}.axis", [bag.total, bag.count]
        counted = f"{name}.sum" if bag.count else bag.total
        stored |= {f"{name}.table": bag.table, axis: np.array([1], np.int64)}
        nodes += [node("Gather", [f"{name}.table", bag.ids], rows), node("ReduceSum", [rows, axis], counted, keepdims=0)]
        if bag.count:
            stored[f"{name}.widths"] = np.array([bag.table.shape[1] - 1, 1], np.int64)
            nodes.append(onnx.helper.make_node("Split", [counted, f"{name}.widths"], parts, axis=1))
    return with_nodes(net, nodes, stored) if found else net


def _bag(
    entry: onnx.NodeProto,
    net: Net,
    made: dict[str, onnx.NodeProto],
    read: dict[str, list[onnx.NodeProto]],
    bags: dict[str, int],
) -> _Bag | None:
    """Return the bag whose looked-up rows a Mul masks; None where it is none, or others read the rows."""
    if entry.op_type != "Mul":
        return None
    for rows, mask in (entry.input, entry.input[::-1]):
        ids, (source, first, table) = _masks(mask, net, made), _looked_up(rows, net, made)
        totals, counts = read.get(entry.output[0], []), [one for one in read.get(mask, []) if one is not entry]
        if not ids or ids != source or ids not in bags or table is None or len(totals) != 1 or len(counts) > 1:
            continue
        own = table[first : first + bags[ids]].copy()
        alone = all(_sums(one, net) for one in (*totals, *counts)) and not {entry.output[0], mask} & set(net.outputs)
        if not alone or not len(own) or own.nbytes + 4 * len(own) > _SMALL or not np.isfinite(own).all():
            continue
        own[0] = 0.0
        known = np.ones((len(own), 1), np.float32)
        known[0] = 0.0
        return _Bag(ids, np.hstack([own, known]) if counts else own, totals[0].output[0], counts[0].output[0] if counts else "")
    return None


def _masks(name: str, net: Net, made: dict[str, onnx.NodeProto]) -> str:
    """Return the ids [A, W] of which a value [A, W, 1] is 1.0 where they are not 0; "" where it is no mask."""
    for kind in ("Unsqueeze", "Cast", "Not", "Equal"):
        entry = made.get(name)
        if entry is None or entry.op_type != kind or (kind == "Cast" and option(entry, "to", 0) != onnx.TensorProto.FLOAT):
            return ""
        if kind == "Unsqueeze" and net.whole(entry.input[1]) not in ([-1], [2]):
            return ""
        name = entry.input[0]
    return str(name) if entry is not None and net.whole(entry.input[1]) == [0] else ""


def _looked_up(name: str, net: Net, made: dict[str, onnx.NodeProto]) -> tuple[str, int, np.ndarray | None]:
    """Return (ids, the row that stands for id 0, table float32 [N, D]) of a look-up."""
    entry = made.get(name)
    table = net.array(entry.input[0]) if entry is not None and entry.op_type == "Gather" and option(entry, "axis", 0) == 0 else None
    if entry is None or table is None or table.ndim != 2 or table.dtype != np.float32:
        return "", 0, None
    moved = made.get(entry.input[1])
    if moved is None or moved.op_type != "Add":
        return str(entry.input[1]), 0, table
    first = net.whole(moved.input[1])
    return (str(moved.input[0]), first[0], table) if first is not None and len(first) == 1 and first[0] >= 0 else ("", 0, None)


def _sums(entry: onnx.NodeProto, net: Net) -> bool:
    """Return whether a node sums the places of a bag and drops their axis."""
    return entry.op_type == "ReduceSum" and len(entry.input) == 2 and net.whole(entry.input[1]) == [1] and not option(entry, "keepdims", 1)
