"""A product of a first layer, written as the sum of the user's part, of looked-up products, and of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.net import Net, makers, node
from autorec_rewrite.probe import Shapes
from autorec_rewrite.sides import Sides
from autorec_rewrite.terms import Product, Term

__all__ = ["WORTH", "Ids", "Sum"]

WORTH = 4096  # multiplications a row below which a product is left as it is: nodes cost more


class Ids:
    """Which rows of a table an id reads: one table may hold several vocabularies, each behind an offset."""

    def __init__(self, net: Net, shapes: Shapes, model: CompressedModel) -> None:
        self.net, self.shapes = net, shapes
        self._made = makers(net)
        self._sizes = {feature.name: feature.size for feature in model.model.features.features if feature.kind == "id"}

    def span(self, term: Term) -> tuple[str, int, int]:
        """Return (index, first row, rows) of a look-up: its rows are first row + index; (its index, 0, all) where they are not known."""
        table = self.net.array(term.table) if term.table else None
        whole = 0 if table is None else len(table)
        index, start = term.index, 0
        entry = self._made.get(index)
        if entry is not None and entry.op_type == "Add":
            shift = next((values for name in entry.input if (values := self.net.whole(name)) is not None), None)
            index = next((name for name in entry.input if name not in self.net.stored), "")
            start = shift[0] if shift is not None and len(shift) == 1 else -1
        rows = self._sizes.get(index, 0)
        return (index, start, rows) if rows and 0 <= start <= whole - rows else (term.index, 0, whole)


class Sum:
    """One product as the sum of the user's part, of tables of products, and of the rest.

    Args:
        narrowest: Width of an embedding from which a table takes the place of its product.
        room: Bytes that tables may take.
    """

    def __init__(self, entry: onnx.NodeProto, product: Product, net: Net, sides: Sides, narrowest: int, room: int, ids: Ids) -> None:
        self.entry, self.product, self.net, self.ids = entry, product, net, ids
        self.stored: dict[str, np.ndarray] = {}
        self.more = 0
        self.user = [term for term in product.terms if sides.of_user(term.source)]
        rest = [term for term in product.terms if not sides.of_user(term.source)]
        self.tables: list[Term] = []
        for term in rest:
            size = 4 * ids.span(term)[2] * term.weights.shape[1]
            if term.table and len(term.weights) >= narrowest and self.more + size <= room:
                self.tables.append(term)
                self.more += size
        self.rest = [term for term in rest if term not in self.tables]

    @property
    def worth(self) -> bool:
        """Return whether enough multiplications a row go."""
        gone = sum(term.weights.size for term in (*self.user, *self.tables)) if self.rest or self.tables else 0
        return gone + self.product.folded >= WORTH

    def nodes(self) -> list[onnx.NodeProto]:
        """Return the nodes that answer the product under its name."""
        out = self.entry.output[0]
        made: list[onnx.NodeProto] = []
        offset = self._bias()
        if self.user:
            offset = self._gemm(self.user, offset, f"{out}.user", made)
        for number, term in enumerate(self.tables):
            offset = self._add(self._table(term, number, made), offset, f"{out}.sum{number}", made)
        if self.rest:
            self._gemm(self.rest, offset, out, made)
        made[-1].output[0] = out
        return made

    def _bias(self) -> str:
        if self.product.bias is None:
            return ""
        name = f"{self.entry.output[0]}.bias"
        self.stored[name] = self.product.bias.astype(np.float32)
        return name

    def _gemm(self, terms: Sequence[Term], offset: str, out: str, made: list[onnx.NodeProto]) -> str:
        values = [self._value(term, made) for term in terms]
        name = values[0]
        if len(values) > 1:
            name = f"{out}.pieces"
            made.append(node("Concat", values, name, axis=1))
        self.stored[f"{out}.weights"] = np.concatenate([term.weights for term in terms]).astype(np.float32)
        made.append(node("Gemm", [name, f"{out}.weights", *([offset] if offset else [])], out))
        return out

    def _value(self, term: Term, made: list[onnx.NodeProto]) -> str:
        """Return a piece as [A, w]."""
        if term.table:
            name = f"{term.table}.of.{term.index}"
            made.append(node("Gather", [term.table, term.index], name, axis=0))
            return name
        if len(self.ids.shapes.dims[term.value]) == 2:
            return term.value
        name = f"{term.value}.flat"
        self.stored[f"{name}.size"] = np.array([-1, len(term.weights)], np.int64)
        made.append(node("Reshape", [term.value, f"{name}.size"], name))
        return name

    def _table(self, term: Term, number: int, made: list[onnx.NodeProto]) -> str:
        name = f"{self.entry.output[0]}.table{number}"
        index, start, rows = self.ids.span(term)
        table = self.net.array(term.table)
        assert table is not None
        self.stored[f"{name}.products"] = (table[start : start + rows].astype(np.float64) @ term.weights).astype(np.float32)
        made.append(node("Gather", [f"{name}.products", index], name, axis=0))
        return name

    def _add(self, value: str, offset: str, out: str, made: list[onnx.NodeProto]) -> str:
        if not offset:
            return value
        made.append(node("Add", [value, offset], out))
        return out
