"""`Architecture`: a typed graph of blocks kept as data; the one language of the model zoo and the search (DESIGN section 2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autorec_kernel.errors import ContractError

__all__ = ["SOURCES", "Architecture", "Axis", "Batching", "Link", "Node", "Port", "TensorSpec"]

Port = Literal["fields", "vector", "sequence", "scores", "table", "loss"]
Axis = Literal["row", "user", "item"]
Link = Literal["logit", "probability", "value"]
Batching = Literal["row", "sequence", "user", "item", "session"]
SOURCES: tuple[str, ...] = (
    "@fields",
    "@numeric",
    "@history",
    "@candidate",
    "@target",
    "@negatives",
    "@labels",
    "@interactions",
    "@table",
    "@constant",
)
_TRAINING_ONLY = frozenset({"@target", "@negatives", "@labels"})
_SIZES = ("hidden_dims", "width", "layers", "cross_layers", "neighbours")  # config keys that tell a node's size


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and meaning of the value on a port.

    Args:
        port: fields [A, F, E] | vector [A, D] | sequence [A, L, E] with mask bool [A, L] | scores [A, T] or [A, N] | table [R, D]
            | loss [].
        axis: What A counts: rows of a batch, or all users or items of the data (row 0 included).
        fields: F of a `fields` value.
        width: E or D; 1 for an index.
        rows: R of a `table`; N of catalogue scores; the number of entities where the axis is not `row`.
        tasks: Names of the T columns of `scores`; empty for catalogue scores.
        link: Scale of `scores`.
        index: True when the value is int64 rows of a vocabulary instead of float32 numbers.
        neighbours: True for a `table` of int64 ids [R, n] and float32 weights [R, n] (a sparse item-item matrix).
    """

    port: Port
    axis: Axis = "row"
    fields: int = 0
    width: int = 1
    rows: int = 0
    tasks: tuple[str, ...] = ()
    link: Link | None = None
    index: bool = False
    neighbours: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One block of the graph.

    Args:
        id: Unique name in the graph.
        block: Component id (`blocks/mlp`), or a source `@fields`, `@numeric`, `@history`, `@candidate`, `@target`, `@negatives`,
            `@labels`, `@interactions`, `@table`, `@constant`.
        inputs: Ids of the nodes it reads; `~id`, which may be declared later, is that node's value at the previous step of the same
            batch slot, detached: zeros where a session begins, and in serving.
        config: Options; sources take `columns`, `width`, `table`, `tag`, `length`, `steps`, `index`, `count`, `shared`, `task`, `axis`
            (`item`, `user`: one row an entity instead of one a batch row) and `of` (the entity whose interactions are read).
        shares: The node whose parameters it uses.
    """

    id: str
    block: str
    inputs: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    shares: str | None = None

    @property
    def is_source(self) -> bool:
        """Return True for a node that reads data rather than other nodes."""
        return self.block.startswith("@")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A graph of blocks.

    Args:
        nodes: In topological order.
        outputs: {"score": id} (catalogue scores) | {"user": id, "item": id} (factorised) | {task: id, …}.
        batching: How training rows are put together.

    Raises:
        ContractError: An id is used before it is declared or declared twice, or serving would read training-only data.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    batching: Batching = "row"

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known and not name.startswith("~")]
            if missing or node.id in known:
                raise ContractError(f"node {node.id!r} " + (f"reads {missing} before they exist" if missing else "is declared twice"))
            known.add(node.id)
        for node in self.nodes:
            lost = [name for name in node.inputs if name.startswith("~") and name[1:] not in known]
            if lost:
                raise ContractError(f"node {node.id!r} reads the previous step of {lost}, which do not exist")
        for task, name in self.outputs.items():
            if name not in known:
                raise ContractError(f"output {task!r} names the unknown node {name!r}")
        forbidden = [node.id for node in self.serving() if node.block in _TRAINING_ONLY]
        if forbidden:
            raise ContractError(f"the serving graph reads training-only sources {forbidden}")

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.id == name)

    def serving(self) -> Iterator[Node]:
        """Yield the nodes that the outputs reach backwards, in topological order; a previous step is zeros there and reaches nothing."""
        reached = set(self.outputs.values())
        for node in reversed(self.nodes):
            if node.id in reached:
                reached.update(name for name in node.inputs if not name.startswith("~"))
                if node.shares:
                    reached.add(node.shares)
        return (node for node in self.nodes if node.id in reached)

    def digest(self) -> str:
        """Return the Merkle digest: 16 hex digits; node names do not matter, structure and configs do."""
        marks: dict[str, str] = {}
        for node in self.nodes:
            inputs = [self._previous(name[1:]) if name.startswith("~") else marks[name] for name in node.inputs]
            share = marks.get(node.shares, "") if node.shares else ""
            marks[node.id] = _hash([node.block, _plain(node.config), inputs, share])
        losses = sorted(marks[node.id] for node in self.nodes)
        return _hash([sorted((task, marks[name]) for task, name in self.outputs.items()), self.batching, losses])

    def _previous(self, name: str) -> str:
        """Return a mark of a node that may come later: which one it is, by its kind, options and place."""
        return f"~{self[name].block}{_hash(_plain(self[name].config))}{[node.id for node in self.nodes].index(name)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        nodes = [
            {"id": n.id, "block": n.block, "inputs": list(n.inputs), "config": _plain(n.config), "shares": n.shares} for n in self.nodes
        ]
        return {"nodes": nodes, "outputs": dict(self.outputs), "batching": self.batching}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Architecture:
        """Read what `to_json` wrote."""
        nodes = tuple(Node(n["id"], n["block"], tuple(n["inputs"]), n["config"], n["shares"]) for n in value["nodes"])
        return cls(nodes, value["outputs"], value["batching"])

    def readable(self) -> str:
        """Return one line a person can read, such as `[history-64 → encoder-64x2 → last]`."""
        return "[" + " → ".join(_words(node) for node in self.serving()) + "]"


def _words(node: Node) -> str:
    name = node.block.split("/")[-1].lstrip("@")
    size = next((node.config[key] for key in _SIZES if node.config.get(key)), None)
    if isinstance(size, (list, tuple)):
        size = "x".join(str(part) for part in size)
    return f"{name}-{size}" if size is not None else name


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True, default=list))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
