"""What the first product of a network multiplies: its input as pieces side by side, each with its rows of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from autorec_rewrite.net import Net, option
from autorec_rewrite.probe import Shapes

__all__ = ["Product", "Term", "product_of"]

Made = Mapping[str, onnx.NodeProto]


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A piece and its weights.

    Args:
        value: float32 [A, w], or [A, F, E] that is read flat; "" for a look-up.
        weights: float64 [w, H].
        table: float32 [R, w], looked up by `index`.
        index: Value int64 [A].
    """

    value: str
    weights: np.ndarray
    table: str = ""
    index: str = ""

    @property
    def source(self) -> str:
        """Return the value that the piece is made of."""
        return self.value or self.index


@dataclass(slots=True)
class Product:
    """x · W + b as a sum of terms.

    Args:
        folded: Multiplications a row that products of constants save.
    """

    terms: list[Term] = field(default_factory=list)
    bias: np.ndarray | None = None
    folded: int = 0


def product_of(entry: onnx.NodeProto, net: Net, shapes: Shapes, made: Made) -> Product | None:
    """Return the terms of a Gemm or MatMul [A, D] · [D, H] with constant weights; None of another node."""
    plain = _linear(entry, net)
    if plain is None or len(shapes.dims.get(entry.input[0], ())) != 2:
        return None
    weights, bias = plain
    found = Product(bias=None if bias is None else bias.reshape(-1))
    _Terms(net, shapes, made, found).add(entry.input[0], weights)
    return found


def _linear(entry: onnx.NodeProto, net: Net) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return (weights float64 [D, H], bias float64 or None) of x · W + b."""
    if entry.op_type not in ("Gemm", "MatMul") or entry.domain or entry.input[0] in net.stored:
        return None
    weights = net.array(entry.input[1])
    bias = net.array(entry.input[2]) if len(entry.input) > 2 and entry.input[2] else None
    scaled = option(entry, "transA", 0) or option(entry, "alpha", 1.0) != 1.0 or option(entry, "beta", 1.0) != 1.0
    unknown = len(entry.input) > 2 and entry.input[2] and bias is None
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32 or scaled or unknown:
        return None
    turned = weights.T if option(entry, "transB", 0) else weights
    if bias is not None and bias.size != turned.shape[1]:
        return None
    return turned.astype(np.float64), None if bias is None else bias.astype(np.float64)


class _Terms:
    """Goes backwards through what lays pieces side by side."""

    def __init__(self, net: Net, shapes: Shapes, made: Made, found: Product) -> None:
        self.net, self.shapes, self.made, self.found = net, shapes, made, found

    def add(self, value: str, weights: np.ndarray) -> None:
        """Add the terms of a value [A, w], or of the flat form of [A, F, E]."""
        entry = self.made.get(value)
        size = self.shapes.dims[value]
        if entry is not None and entry.op_type == "Concat" and option(entry, "axis", 0) % len(size) == 1:
            self._side_by_side(list(entry.input), weights)
        elif entry is not None and entry.op_type in ("Reshape", "Unsqueeze", "Squeeze") and self._flat(entry.input[0], value):
            self.add(entry.input[0], weights)
        elif entry is None or not (self._inner(entry, weights) or self._scaled(entry, weights) or self._looked_up(entry, weights)):
            self.found.terms.append(Term(value, weights))

    def _side_by_side(self, values: list[str], weights: np.ndarray) -> None:
        start = 0
        for value in values:
            width = self._width(value)
            self.add(value, weights[start : start + width])
            start += width

    def _width(self, value: str) -> int:
        return int(np.prod([size for size in self.shapes.dims[value][1:] if isinstance(size, int)]))

    def _flat(self, before: str, after: str) -> bool:
        """Return whether both values hold the same numbers a row, in the same order."""
        sizes = [self.shapes.dims.get(name, ()) for name in (before, after)]
        fixed = all(len(size) > 1 and all(isinstance(one, int) for one in size[1:]) for size in sizes)
        return fixed and sizes[0][0] == sizes[1][0]

    def _inner(self, entry: onnx.NodeProto, weights: np.ndarray) -> bool:
        """Multiply the constants of two products in a row, where the first one widens."""
        plain = _linear(entry, self.net)
        if plain is None or len(self.shapes.dims[entry.input[0]]) != 2 or plain[0].shape[0] >= plain[0].shape[1]:
            return False
        inner, bias = plain
        if bias is not None:
            self._offset(bias.reshape(-1) @ weights)
        self.found.folded += (inner.shape[1] - inner.shape[0]) * weights.shape[1]
        self.add(entry.input[0], inner @ weights)
        return True

    def _offset(self, moved: np.ndarray) -> None:
        self.found.bias = moved if self.found.bias is None else self.found.bias + moved

    def _scaled(self, entry: onnx.NodeProto, weights: np.ndarray) -> bool:
        """Multiply a vector for each number, [A, n, 1] · [n, E], with the weights; or add a constant [n, E] to the bias."""
        constant = next((array for name in entry.input if (array := self.net.array(name)) is not None), None)
        other = next((name for name in entry.input if name not in self.net.stored), "")
        size = self.shapes.dims[entry.output[0]]
        if entry.op_type not in ("Add", "Mul") or constant is None or not other or constant.dtype != np.float32 or len(size) != 3:
            return False
        given, shape = self.shapes.dims[other], tuple(one for one in size[1:] if isinstance(one, int))
        if len(shape) != 2 or constant.shape[-2:] != shape or constant.size != shape[0] * shape[1]:
            return False
        fixed = constant.reshape(shape)
        if entry.op_type == "Add" and given == size:
            self._offset(fixed.reshape(-1).astype(np.float64) @ weights)
            self.add(other, weights)
            return True
        if entry.op_type == "Add" or given != (size[0], size[1], 1) or fixed.shape[1] == 1:
            return False
        merged = np.einsum("ne,neh->nh", fixed.astype(np.float64), weights.reshape(*fixed.shape, -1))
        self.found.folded += fixed.size * weights.shape[1] - merged.size
        self.add(other, merged)
        return True

    def _looked_up(self, entry: onnx.NodeProto, weights: np.ndarray) -> bool:
        """Tell the look-ups of several ids in one table apart: Gather of [A, F], or a Slice of it."""
        start, end = 0, None
        if entry.op_type == "Slice":
            bounds = [self.net.whole(name) for name in entry.input[1:4]]
            inside = self.made.get(entry.input[0])
            if (
                inside is None
                or len(bounds) < 3
                or any(b is None or len(b) != 1 for b in bounds)
                or len(entry.input) > 4
                or bounds[2] != [1]
            ):
                return False
            (start,), (end,) = bounds[0] or [0], bounds[1] or [0]
            entry = inside
        if entry.op_type != "Gather" or option(entry, "axis", 0) != 0 or entry.input[0] not in self.net.stored:
            return False
        width = self.shapes.dims[entry.input[0]][1:]
        ids = self._ids(entry.input[1])
        if ids is None or len(width) != 1 or not isinstance(width[0], int):
            return False
        for place, index in enumerate(ids[start:end]):
            block = weights[place * width[0] : (place + 1) * width[0]]
            self.found.terms.append(Term("", block, entry.input[0], index))
        return True

    def _ids(self, index: str) -> list[str] | None:
        """Return the ids int64 [A] that an index [A] or [A, F] lays side by side."""
        if len(self.shapes.dims[index]) == 1:
            return [index]
        entry = self.made.get(index)
        if entry is None or entry.op_type != "Concat" or len(self.shapes.dims[index]) != 2:
            return None
        parts = [self.made.get(name) for name in entry.input]
        if any(part is None or part.op_type != "Unsqueeze" or len(self.shapes.dims[part.input[0]]) != 1 for part in parts):
            return None
        return [part.input[0] for part in parts if part is not None]
