"""A product whose columns are told apart afterwards, as queries, keys and values are, becomes one product for each part."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from autorec_rewrite.demand import Demand
from autorec_rewrite.net import Net, makers, node, option, readers, with_nodes
from autorec_rewrite.probe import Shapes
from autorec_rewrite.tidy import Sizes

__all__ = ["split_products"]


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """x · W, then + b, a Reshape and a Transpose where they are there; slices of the result follow.

    Args:
        turned: Order of axes of the Transpose; empty without one.
        shaped: Value whose sizes the Reshape gives; "" without one.
        axis: Axis of the last value that tells the parts apart.
        block: Columns of W for one place of that axis.
    """

    given: str
    weights: np.ndarray
    bias: np.ndarray | None
    shaped: str
    turned: list[int]
    axis: int
    block: int


def split_products(net: Net, shapes: Shapes, demand: Demand) -> Net:
    """Split the products of which some parts are needed whole and others in one row alone."""
    made, read = makers(net), readers(net)
    sizes = Sizes(net, shapes)
    gone, nodes, stored = set[str](), list[onnx.NodeProto](), dict[str, np.ndarray]()
    for name in list(made):
        slices = _slices(name, net, shapes, read)
        parts = [demand.part(entry.output[0]) for entry in slices]
        if not slices or all(parts) or not any(parts):
            continue
        product = _product(name, slices, net, shapes, made, read)
        if product is None or not sizes.knows(shapes.dims[product.shaped] if product.shaped else ()):
            continue
        for entry in slices:
            nodes += _part(entry, product, net, shapes, sizes, stored)
            gone.add(entry.output[0])
    kept = [entry for entry in net.nodes if entry.output[0] not in gone]
    return with_nodes(net, [*kept, *nodes, *sizes.nodes.values()], {**stored, **sizes.stored}) if gone else net


def _slices(name: str, net: Net, shapes: Shapes, read: dict[str, list[onnx.NodeProto]]) -> list[onnx.NodeProto]:
    """Return the readers of a value if all of them slice the same axis by constants."""
    found = read.get(name, [])
    if (
        name in net.outputs
        or name not in shapes.dims
        or any(entry.op_type != "Slice" or _bounds(entry, net, shapes) is None for entry in found)
    ):
        return []
    axes = {bounds[0] for entry in found if (bounds := _bounds(entry, net, shapes))}
    return found if len(axes) == 1 else []


def _bounds(entry: onnx.NodeProto, net: Net, shapes: Shapes) -> tuple[int, int, int] | None:
    """Return (axis, start, end)."""
    given = [net.whole(name) for name in entry.input[1:]]
    if len(given) < 3 or any(values is None or len(values) != 1 for values in given) or (len(given) > 3 and given[3] != [1]):
        return None
    size = shapes.dims[entry.input[0]]
    (start,), (end,), (axis,) = (values for values in given[:3] if values is not None)
    limit = size[axis]
    if not isinstance(limit, int):
        return None
    return axis % len(size), start + limit if start < 0 else start, end + limit if end < 0 else min(end, limit)


def _product(
    name: str,
    slices: list[onnx.NodeProto],
    net: Net,
    shapes: Shapes,
    made: dict[str, onnx.NodeProto],
    read: dict[str, list[onnx.NodeProto]],
) -> _Product | None:
    bounds = _bounds(slices[0], net, shapes)
    assert bounds is not None
    axis, value, turned, shaped, bias = bounds[0], name, list[int](), "", None
    entry = made.get(value)
    if entry is not None and entry.op_type == "Transpose":
        turned = list(option(entry, "perm", []))
        axis, value = turned[axis], entry.input[0]
        entry = _only(value, made, read)
    if entry is not None and entry.op_type == "Reshape":
        shaped, value = value, entry.input[0]
        entry = _only(value, made, read)
    if entry is not None and entry.op_type == "Add":
        place = next((place for place, source in enumerate(entry.input) if source in net.stored), -1)
        bias = net.array(entry.input[place]) if place >= 0 else None
        value = entry.input[1 - place] if place >= 0 else ""
        entry = _only(value, made, read)
    weights = net.array(entry.input[1]) if entry is not None and entry.op_type == "MatMul" else None
    if entry is None or weights is None or weights.ndim != 2 or (bias is not None and bias.shape != (weights.shape[1],)):
        return None
    out = shapes.dims[shaped or value]
    before, block = out[axis], prod(size for size in out[axis + 1 :] if isinstance(size, int))
    if any(not isinstance(size, int) for size in out[axis:]) or not isinstance(before, int) or before * block != weights.shape[1]:
        return None
    return _Product(entry.input[0], weights, bias, shaped, turned, axis, block)


def _only(name: str, made: dict[str, onnx.NodeProto], read: dict[str, list[onnx.NodeProto]]) -> onnx.NodeProto | None:
    """Return the node that makes a value that one node reads."""
    return made.get(name) if len(read.get(name, ())) == 1 else None


def _part(
    entry: onnx.NodeProto, product: _Product, net: Net, shapes: Shapes, sizes: Sizes, stored: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """Return the nodes of one slice."""
    bounds, out = _bounds(entry, net, shapes), entry.output[0]
    assert bounds is not None
    columns = slice(bounds[1] * product.block, bounds[2] * product.block)
    stored[f"{out}.weights"] = np.ascontiguousarray(product.weights[:, columns])
    nodes = [node("MatMul", [product.given, f"{out}.weights"], f"{out}.product")]
    if product.bias is not None:
        stored[f"{out}.bias"] = np.ascontiguousarray(product.bias[columns])
        nodes.append(node("Add", [nodes[-1].output[0], f"{out}.bias"], f"{out}.moved"))
    if product.shaped:
        whole = list(shapes.dims[product.shaped])
        whole[product.axis] = bounds[2] - bounds[1]
        nodes.append(node("Reshape", [nodes[-1].output[0], sizes.row(whole)], f"{out}.shaped"))
    if product.turned:
        nodes.append(node("Transpose", [nodes[-1].output[0]], f"{out}.turned", perm=product.turned))
    nodes[-1].output[0] = out
    return nodes
