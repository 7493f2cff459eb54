"""What a graph costs: a price list of its operators that is the same on every machine, and a line through what probes measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

__all__ = ["Calibration", "calibrated", "listed_microseconds"]

_FLOOR, _NODE = 7.4, 0.4  # microseconds of a session's call, and of a node in it [COMPRESSION.md, section 6]
_INPUT = 1.0  # microseconds of an input: 52 columns apart took 54 more than side by side
# Microseconds per (weight read once, weight multiplied by one row), measured on a network of 3 x 1024 x 1024.
_PRICES = {
    "float": (1 / 5_800, 1 / 52_000),
    "MatMulInteger": (1 / 18_000, 1 / 411_000),
    "MatMulNBits": (1 / 43_000, 1 / 45_000),
}
_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "MatMulNBits")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A line from listed to measured microseconds.

    Args:
        error: Mean absolute error of a probe that the line did not see, a share of what was measured; infinite below four probes.
        probes: Graphs it was drawn through.
    """

    offset: float
    slope: float
    error: float
    probes: int

    def milliseconds(self, listed: float) -> float:
        """Return what a call is predicted to take here."""
        return max(0.0, self.offset + self.slope * listed) / 1000

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "offset_us": round(self.offset, 3),
            "slope": round(self.slope, 4),
            "error": round(self.error, 4) if np.isfinite(self.error) else None,
            "probes": self.probes,
        }


def listed_microseconds(graph: bytes, batch: int, steps: int) -> float:
    """Return the price of one call: a floor, a node's share, and constant matrices by how often their weights are read and multiplied.

    Args:
        batch: Rows of a call.
        steps: Length of a history, for products whose rows are steps.
    """
    model = onnx.ModelProto.FromString(graph)
    constant = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    rows = _rows(graph, steps)
    total = _FLOOR + _INPUT * len(model.graph.input)
    for node in model.graph.node:  # nodes stand in the order in which they are computed
        if node.op_type == "Constant" or (node.input and all(name in constant for name in node.input if name)):  # folded as the model loads
            constant |= dict.fromkeys(node.output, max((constant[name] for name in node.input if name), default=_held(node)))
            continue
        total += _NODE
        if node.op_type in _PRODUCTS:
            read, multiplied = _PRICES.get(node.op_type, _PRICES["float"])
            weights = _weights(node, constant)
            total += weights * (read + multiplied * batch * rows.get(node.input[0], 1))
    return total


def _held(node: onnx.NodeProto) -> int:
    """Return the numbers of a Constant's tensor; 1 for one written as numbers."""
    return max((int(np.prod(entry.t.dims)) for entry in node.attribute if entry.HasField("t")), default=1)


def _weights(node: onnx.NodeProto, constant: Mapping[str, int]) -> int:
    if node.op_type == "MatMulNBits":
        sizes = {entry.name: entry.i for entry in node.attribute}
        return int(sizes.get("N", 0) * sizes.get("K", 0))
    return max((constant[name] for name in node.input[:2] if name in constant), default=0)


def _rows(graph: bytes, steps: int) -> dict[str, int]:
    """Return value → the rows of a product that it has for each row of a call; an axis of no known size is taken for a history's steps."""
    try:
        inferred = onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(graph))
    except Exception:  # onnx raises its own classes for operators that it does not know
        return {}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.graph.value_info, *inferred.graph.input)}
    return {name: int(np.prod([size.dim_value or steps for size in dims[1:-1]])) for name, dims in shapes.items()}


def calibrated(listed: Sequence[float], measured: Sequence[float]) -> Calibration:
    """Return the least-squares line through (listed, measured) microseconds, weighed by one over what was measured.

    Fewer than three probes are scaled by their ratio alone.
    """
    x, y = np.asarray(listed, float), np.asarray(measured, float)
    if len(x) < 3 or np.ptp(x) < 1e-9:
        return Calibration(0.0, float(np.median(y / x)) if len(x) else 1.0, float("inf"), len(x))
    offset, slope = _line(x, y)
    misses = [abs(np.dot((1.0, x[k]), _line(np.delete(x, k), np.delete(y, k))) - y[k]) / y[k] for k in range(len(x))]
    return Calibration(offset, slope, float(np.mean(misses)) if len(x) >= 4 else float("inf"), len(x))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    rows = np.stack([np.ones_like(x), x], 1) / y[:, None]
    offset, slope = np.linalg.lstsq(rows, np.ones_like(y), rcond=None)[0]
    return float(offset), float(slope)
