"""Sources: the nodes that read data. All embeddings of one width live in one `EmbeddingStore`, so fields cost one gather."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from autorec_kernel.errors import ContractError, UnknownNameError
from autorec_kernel.models.histories import newest, stepped
from autorec_kernel.records.architecture import SOURCES, Axis, Batching, Node, TensorSpec
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["INTERACTIONS", "LABEL", "NEGATIVES", "OBSERVED", "TARGET", "EmbeddingStore", "Source", "on_entity", "source_for", "source_spec"]

TARGET, NEGATIVES, LABEL, INTERACTIONS, OBSERVED = "@target", "@negatives", "@label:", "@interactions", "@observed"
_INITIAL_SCALE, _RANKER_SCALE = 0.05, 0.02  # standard deviation of a fresh embedding; smaller where a network reads it to rank


class EmbeddingStore(nn.Module):
    """One float32 table [rows, width] holding the embeddings of several vocabularies, each a range of rows; its row 0 = unknown.

    Args:
        sizes: Vocabulary → rows.
        ranking: Whether it serves a ranker, whose tables start nearer to zero: validation AUC peaks sooner and higher on click rows.
    """

    def __init__(self, sizes: Mapping[str, int], width: int, *, ranking: bool = False) -> None:
        super().__init__()
        self.ranges: dict[str, tuple[int, int]] = {}
        start = 0
        for name, size in sizes.items():
            self.ranges[name] = (start, size)
            start += size
        self.met: set[str] = set()  # vocabularies whose row 0 training has read: missing values, hidden ids
        self._unmet = torch.zeros(0, dtype=torch.int64)  # the rows 0 of the others
        self.sparse = False  # whether lookups give a sparse gradient: the fit loop decides
        self.weight = nn.Parameter(torch.empty(start, width).normal_(0.0, _RANKER_SCALE if ranking else _INITIAL_SCALE))

    def lookup(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 [..., width] of store rows int64 [...]."""
        if self.training and not self.sparse and ids.device.type == "cpu":  # the gradient of a selection is four times cheaper here
            return self.weight.index_select(0, ids.reshape(-1)).view(*ids.shape, self.weight.shape[1])
        return functional.embedding(ids, self.weight, sparse=self.sparse and self.training)

    def table(self, vocabulary: str) -> torch.Tensor:
        """Return float32 [size, width], the rows of one vocabulary."""
        start, size = self.ranges[vocabulary]
        return self.weight[start : start + size]

    def note_met(self) -> None:
        """Remember after a backward pass which unknown rows were read: those have a gradient."""
        gradient = self.weight.grad
        if gradient is None or len(self.met) == len(self.ranges):
            return
        if len(self._unmet) != len(self.ranges) - len(self.met) or self._unmet.device != gradient.device:
            firsts = [first for name, (first, _) in self.ranges.items() if name not in self.met]
            self._unmet = torch.tensor(firsts, device=gradient.device)
        if gradient.is_sparse:
            rows, values = gradient.coalesce().indices()[0], gradient.coalesce().values()
            at = torch.searchsorted(rows, self._unmet).clamp(max=max(0, len(rows) - 1))
            read = (rows[at] == self._unmet) & values[at].any(1) if len(rows) else torch.zeros_like(self._unmet, dtype=torch.bool)
        else:
            read = gradient.index_select(0, self._unmet).any(1)
        if read.any():
            found = set(self._unmet[read].tolist())
            self.met.update(name for name, (first, _) in self.ranges.items() if first in found)

    @torch.no_grad()
    def settle_unknown(self) -> None:
        """Give every unknown row that training never read the mean of its vocabulary."""
        for name, (start, size) in self.ranges.items():
            if size > 1 and name not in self.met:
                self.weight[start] = self.weight[start + 1 : start + size].mean(0)


class Source(nn.Module):
    """Reads named inputs from a batch.

    Args:
        node: The source node.
        spec: What it yields.
        names: Batch entries it reads.
        store: The embedding store of its width, None for sources without embeddings.
        keys: Vocabulary key in the store, one a name.
    """

    def __init__(self, node: Node, spec: TensorSpec, names: Sequence[str], store: EmbeddingStore | None, keys: Sequence[str]) -> None:
        super().__init__()
        self.kind = node.block
        self.names = tuple(names)
        self.keys = tuple(keys)
        self.spec = spec
        self.length = int(node.config.get("length", 0))
        self.cut = 0  # steps to cut the batch's history to, where another source of the same column reads more
        self._store = [store]  # in a list: the network owns the parameters
        first = [store.ranges[key][0] for key in self.keys] if store is not None else []
        self.first: torch.Tensor  # int64 [names], where each vocabulary begins in the store
        self.register_buffer("first", torch.tensor(first, dtype=torch.int64), persistent=False)

    @property
    def store(self) -> EmbeddingStore:
        """Return the embedding store."""
        assert self._store[0] is not None
        return self._store[0]

    def reads(self, store: EmbeddingStore) -> bool:
        """Return whether it reads embeddings of this store."""
        return self._store[0] is store

    def forward(self, batch: Mapping[str, torch.Tensor]) -> Any:
        """Return the value of the node for this batch."""
        return getattr(self, "_" + self.kind[1:])(batch)

    def _fields(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.spec.index:
            return torch.stack([batch[name] for name in self.names], 1)
        single = [i for i, name in enumerate(self.names) if batch[name].dim() == 1]
        if len(single) == len(self.names):
            return self.store.lookup(torch.stack([batch[name] for name in self.names], 1) + self.first)
        ids = torch.stack([batch[self.names[i]] + self.store.ranges[self.keys[i]][0] for i in single], 1) if single else None
        parts = dict(zip(single, self.store.lookup(ids).unbind(1), strict=True)) if ids is not None else {}
        return torch.stack([parts[i] if i in parts else self._bag(batch[name], i) for i, name in enumerate(self.names)], 1)

    def _bag(self, ids: torch.Tensor, position: int) -> torch.Tensor:
        mask = (ids != 0).to(self.store.weight.dtype).unsqueeze(-1)
        rows = self.store.lookup(ids + self.store.ranges[self.keys[position]][0])
        return (rows * mask).sum(1) / mask.sum(1).clamp(min=1.0)

    def _numeric(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        parts = [batch[name] if batch[name].dim() == 2 else batch[name].unsqueeze(1) for name in self.names]
        return torch.cat(parts, 1)

    def _history(self, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = stepped(batch[self.names[0]])
        count = self.cut or self._excess(ids, batch)
        ids = newest(ids, count) if count else ids
        mask = ids != 0
        if self.spec.index:
            return ids, mask
        rows = self.store.lookup(ids + self.store.ranges[self.keys[0]][0])
        return rows * mask.unsqueeze(-1).to(rows.dtype), mask

    def _excess(self, ids: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> int:
        """Return the steps to cut longer histories to, 0 = none: the runtime fits what a graph reads, and training its targets."""
        if not self.length or torch.compiler.is_exporting() or ids.shape[1] <= self.length:
            return 0
        return 0 if TARGET in batch and batch[TARGET].shape == ids.shape else self.length

    def _candidate(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        ids = batch[self.names[0]]
        return ids if self.spec.index else self.store.lookup(ids + self.store.ranges[self.keys[0]][0])

    def _target(self, batch: Mapping[str, torch.Tensor]) -> Any:
        ids = stepped(batch[TARGET]) if batch[TARGET].dim() == 2 else batch[TARGET]
        value = ids if self.spec.index else self.store.lookup(ids + self.store.ranges[self.keys[0]][0])
        return (value, ids != 0) if ids.dim() == 2 else value

    def _negatives(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        ids = batch[NEGATIVES]
        return ids if self.spec.index else self.store.lookup(ids + self.store.ranges[self.keys[0]][0])

    def _labels(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return batch[self.names[0]].unsqueeze(1)

    def _interactions(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return batch[self.names[0]]

    def _table(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.store.table(self.keys[0])

    def _constant(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return (batch[self.names[0]] * 0 + 1).to(torch.float32).unsqueeze(1)


def source_spec(node: Node, features: FeatureSchema, batching: Batching) -> TensorSpec:
    """Return what a source yields.

    Raises:
        ContractError: The node names no column, or a column of the wrong kind.
    """
    if node.block not in SOURCES:
        raise UnknownNameError("source", node.block, SOURCES)
    config, width, index = node.config, int(node.config.get("width", 1)), bool(node.config.get("index", False))
    columns, axis = _columns(node, features), _axis(node)
    count_of_entities = {"user": features.users, "item": features.items}.get(axis, 0)
    if node.block == "@fields":
        bags = [column.name for column in columns if column.kind == "bag"]
        if index and bags:
            raise ContractError(f"source {node.id!r} passes row indices on, which the bags {bags} have several of")
        return TensorSpec("fields", axis, fields=len(columns), width=1 if index else width, rows=count_of_entities, index=index)
    if node.block == "@numeric":
        return TensorSpec("vector", axis, width=sum(column.width for column in columns), rows=count_of_entities)
    if node.block == "@interactions":
        return TensorSpec("vector", axis, width=features.items if axis == "user" else features.users, rows=count_of_entities)
    if node.block == "@history":
        return TensorSpec("sequence", width=1 if index else width, index=index, rows=columns[0].size)
    if node.block == "@table":
        return TensorSpec("table", axis="item", width=width, rows=_rows(features, str(config.get("table", "item"))))
    if node.block in ("@labels", "@constant"):
        return TensorSpec("vector", width=1)
    index = "width" not in config
    if node.block == "@candidate":
        return TensorSpec("vector", width=width, index=index, rows=features.items)
    if node.block == "@target":
        port = "sequence" if batching in ("sequence", "session", "user") else "vector"
        return TensorSpec(port, width=width, index=index, rows=features.items)  # type: ignore[arg-type]
    count = int(config.get("count", 1))
    if config.get("shared", False):
        return TensorSpec("table", axis="item", width=width, rows=count, index=index)
    return TensorSpec("fields", fields=count, width=width, index=index)


def source_for(node: Node, spec: TensorSpec, features: FeatureSchema, stores: Mapping[int, EmbeddingStore]) -> Source:
    """Build the module of a source node."""
    columns = _columns(node, features)
    names = [f"{LABEL}{node.config['task']}"] if node.block == "@labels" else [column.name for column in columns]
    if on_entity(node):
        names = [f"@{_axis(node)}:{name}" for name in names or [OBSERVED if node.config.get("observed", False) else INTERACTIONS]]
    keys = [vocabulary_key(node, column.vocabulary) for column in columns]
    if node.block in ("@target", "@negatives", "@table"):
        names, keys = [], [vocabulary_key(node, str(node.config.get("table", "item")))]
    embeds = not spec.index and node.block in ("@fields", "@history", "@candidate", "@target", "@negatives", "@table")
    return Source(node, spec, names, stores[spec.width] if embeds else None, keys)


def vocabularies(node: Node, spec: TensorSpec, features: FeatureSchema) -> dict[str, int]:
    """Return vocabulary key → rows that this source needs in the store of its width."""
    if spec.index or node.block in ("@numeric", "@labels", "@constant", "@interactions"):
        return {}
    if node.block in ("@target", "@negatives", "@table"):
        name = str(node.config.get("table", "item"))
        return {vocabulary_key(node, name): _rows(features, name)}
    return {vocabulary_key(node, column.vocabulary): column.size for column in _columns(node, features)}


def on_entity(node: Node) -> bool:
    """Return whether a source has one row a user or an item of the data instead of one a batch row."""
    return node.block == "@interactions" or (node.is_source and "axis" in node.config)


def _axis(node: Node) -> Axis:
    """Return what A counts.

    Raises:
        ContractError: It is no axis.
    """
    axis = str(node.config.get("of" if node.block == "@interactions" else "axis", "row"))
    if axis not in (("user", "item") if on_entity(node) else ("row",)):
        raise ContractError(f"source {node.id!r} ({node.block}) has one row a user or an item, not a {axis!r}")
    return axis  # type: ignore[return-value]


def vocabulary_key(node: Node, vocabulary: str) -> str:
    """Return the name of an embedding table: same vocabulary, tag and width are the same parameters."""
    tag = str(node.config.get("tag", ""))
    return f"{vocabulary}#{tag}" if tag else vocabulary


def _rows(features: FeatureSchema, vocabulary: str) -> int:
    for feature in features.features:
        if feature.vocabulary == vocabulary:
            return feature.size
    raise UnknownNameError("vocabulary", vocabulary, {f.vocabulary for f in features.features if f.vocabulary})


def _columns(node: Node, features: FeatureSchema) -> list[Feature]:
    kinds = {"@fields": ("id", "bag"), "@numeric": ("numeric",), "@history": ("history",), "@candidate": ("id",), "@constant": ("id",)}
    if node.block not in kinds:
        return []
    columns = [features[str(name)] for name in node.config.get("columns", ())]
    wrong = [column.name for column in columns if column.kind not in kinds[node.block]]
    if wrong or not columns:
        raise ContractError(f"source {node.id!r} ({node.block}) needs {' or '.join(kinds[node.block])} columns, got {wrong or 'none'}")
    axis = _axis(node)
    other = [column.name for column in columns if axis != "row" and column.depends != axis]
    if other:
        raise ContractError(f"source {node.id!r} has one row a {axis}, but {other} depend on more than the {axis}")
    return columns
