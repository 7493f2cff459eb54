"""`tail-rows`: rows of embedding tables that training read least go; their ids read the unknown row, or a few rows that they share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float, Int
from autorec_prune.graphs import graph_of, is_look_up, readers_of, rebuilt, smaller

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet

__all__ = ["TailRows"]

_CHUNK = 65536  # training rows counted at a time
_HASH = 2654435761  # Knuth's multiplicative hash, 2³² / golden ratio
_log = logging.getLogger(__name__)


class TailRows:
    """Shrinks tables that are only looked up, through one more look-up in an int32 list: id → row that is left.

    The vocabulary stays as it is, so every id is still accepted. A table holds several vocabularies, each with its unknown row first; those
    that the graph never reads, such as the items of a factorised retriever, go whole, which changes no answer. How many rows remain of
    each vocabulary is logged.
    """

    class Config(ComponentConfig):
        """Options."""

        share: Annotated[float, Float(0.1, 0.9)] = Field(
            0.5, gt=0, lt=1, description="Share of a vocabulary's rows that go, the rarest first."
        )
        shared: Annotated[int, Int(0, 64)] = Field(
            0, ge=0, le=2**20, description="Rows a vocabulary that ids without one share by hash, each their mean; 0 = the unknown row."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield cuts of a quarter, half and three quarters where a table is only looked up."""
        if model.graph is not None and any(True for _ in _tables(model, graph_of(model))):
            yield from (self.config.model_copy(update={"share": share}) for share in (0.25, 0.5, 0.75))

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with smaller tables; the same graph and events give the same bytes.

        Raises:
            NotApplicable: No table is only looked up, or the bytes did not shrink.
        """
        plain = graph_of(model)
        tables = dict(_tables(model, plain))
        if not tables:
            raise NotApplicable("no embedding table in float32 is only looked up")
        stored: dict[str, np.ndarray] = {}
        for name, ranges in tables.items():
            whole = next(numpy_helper.to_array(tensor) for tensor in plain.graph.initializer if tensor.name == name)
            rows, values = self._cut(whole, ranges, context.features, _read(model, ranges))
            stored |= {f"{name}.rows": rows, f"{name}.left": values}
        nodes = [part for node in plain.graph.node for part in _redirected(node, tables)]
        return smaller(model, rebuilt(plain, nodes, stored))

    def _cut(
        self, whole: np.ndarray, ranges: Mapping[str, tuple[int, int]], features: FeatureSet, read: set[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (int32 [R], place of each row among those left; float32 [r, D], those left)."""
        counts = {name: _events(features, name.partition("#")[0], size) if name in read else None for name, (_, size) in ranges.items()}
        gone = self._rarest(counts, ranges)
        rows, values, filled = np.zeros(len(whole), np.int32), [], 0
        for name, (start, size) in ranges.items():
            places, left = self._joined(whole[start : start + size], counts[name], gone[name])
            rows[start : start + size] = filled + places
            values.append(left)
            filled += len(left)
            _log.info("%s: %d of %d rows remain", name, len(left), size)
        return rows, np.concatenate(values)

    def _rarest(self, counts: Mapping[str, np.ndarray | None], ranges: Mapping[str, tuple[int, int]]) -> dict[str, np.ndarray]:
        """Return vocabulary → int64 [n], the ids without a row: those with fewest events of all vocabularies together, ties in order."""
        known = {name: found[1:] for name, found in counts.items() if found is not None}
        flat = np.concatenate([*known.values(), np.zeros(0, np.int64)])
        rare = np.zeros(len(flat), bool)
        rare[np.argsort(flat, kind="stable")[: int(self.config.share * len(flat))]] = True
        parts = np.split(rare, np.cumsum([len(found) for found in known.values()])[:-1])
        gone = {name: 1 + np.flatnonzero(part) for name, part in zip(known, parts, strict=bool(known))}
        return {name: gone.get(name, np.arange(1, size)) for name, (_, size) in ranges.items()}

    def _joined(self, table: np.ndarray, counts: np.ndarray | None, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (int64 [size], row left of each id; float32 [r, D]): rows kept in order, then the shared ones."""
        kept = np.setdiff1d(np.arange(len(table)), gone)
        places = np.zeros(len(table), np.int64)
        places[kept] = np.arange(len(kept))
        if counts is None or not self.config.shared or not len(gone):
            return places, table[kept]
        used, slot = np.unique(gone * _HASH % 2**32 % self.config.shared, return_inverse=True)
        places[gone] = len(kept) + slot
        weights = np.zeros((len(used), len(gone)), np.float32)
        weights[slot, np.arange(len(gone))] = counts[gone] + 1.0
        return places, np.concatenate([table[kept], weights @ table[gone] / weights.sum(1, keepdims=True)])


def _tables(model: CompressedModel, graph: onnx.ModelProto) -> Iterator[tuple[str, Mapping[str, tuple[int, int]]]]:
    """Yield (initialiser, vocabulary → (first row, rows)) of each embedding table of the network that nothing but look-ups reads."""
    stores: list[Any] = getattr(model.model.module, "embedding_stores", list)()
    readers = readers_of(graph)
    fixed = {tensor.name for tensor in graph.graph.initializer}
    for tensor in graph.graph.initializer:
        nodes = readers.get(tensor.name, [])
        rows = [node.input[1] for node in nodes if is_look_up(node, tensor.name)]
        if tensor.data_type != onnx.TensorProto.FLOAT or not rows or len(rows) < len(nodes) or fixed.intersection(rows):
            continue
        same = [store for store in stores if list(store.weight.shape) == list(tensor.dims)]
        ranges = [store.ranges for store in same if np.array_equal(store.weight.detach().numpy(), numpy_helper.to_array(tensor))]
        if ranges:
            yield tensor.name, ranges[0]


def _read(model: CompressedModel, ranges: Mapping[str, tuple[int, int]]) -> set[str]:
    """Return the vocabularies that an input of the graph has ids of."""
    named = {feature.vocabulary for feature in model.model.features.features if feature.name in model.model.module.inputs}
    return {name for name in ranges if name.partition("#")[0] in named}


def _events(features: FeatureSet, vocabulary: str, size: int) -> np.ndarray:
    """Return int64 [size], how many training events have each id of a vocabulary in a column of their own."""
    columns = [feature.name for feature in features.schema.features if feature.vocabulary == vocabulary and feature.kind in ("id", "bag")]
    counts, rows = np.zeros(size, np.int64), features.rows("train")
    for start in range(0, len(rows) if columns else 0, _CHUNK):
        for values in features.row_inputs(columns, rows[start : start + _CHUNK]).values():
            counts += np.bincount(values.ravel(), minlength=size)
    return counts


def _redirected(node: onnx.NodeProto, tables: Mapping[str, Any]) -> Iterator[onnx.NodeProto]:
    table = node.input[0] if node.input else ""
    if table not in tables:
        yield node
        return
    row = f"{node.output[0]}.row"
    yield helper.make_node("Gather", [f"{table}.rows", node.input[1]], [row], axis=0)
    yield helper.make_node("Gather", [f"{table}.left", row], [node.output[0]], axis=0)
