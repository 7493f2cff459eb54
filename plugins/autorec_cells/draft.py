"""A graph in the making: values with their shapes, and the canonical form in which equal graphs are equal."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autorec_kernel.records.architecture import Architecture, Batching, Node, Port

__all__ = ["HISTORY", "Draft", "Value"]

HISTORY = "history"  # the line of the history's own steps


@dataclass(frozen=True, slots=True)
class Value:
    """What a node yields.

    Args:
        name: Of the node.
        mark: Digest of the node and all below it; names do not enter.
        port, width, fields: As in its `TensorSpec`.
        line: Which steps a sequence has; two sequences of one line have the same ones. Empty for no sequence.
        stepwise: Whether every step is a function of the history up to it alone.
        origin: What the node itself yields, where this is what the default adapter makes of it.
    """

    name: str
    mark: str
    port: Port
    width: int
    fields: int = 0
    line: str = ""
    stepwise: bool = False
    origin: Value | None = None

    @property
    def flat(self) -> int:
        """Return its width as a vector."""
        return self.width * self.fields if self.port == "fields" else self.width

    @property
    def vector(self) -> Value:
        """Return it as the default adapter makes it a vector: fields flattened, steps averaged."""
        own = self.origin or self
        if own.port == "vector":
            return own
        return replace(own, port="vector", width=own.flat, fields=0, line="", stepwise=False, origin=own)

    @property
    def steps(self) -> Value:
        """Return it as the default adapter makes it a sequence: a step a field, or a single one."""
        own = self.origin or self
        return self if self.port == "sequence" else replace(own, port="sequence", fields=0, line=f"~{own.mark}", origin=own)


class Draft:
    """Nodes that are added one by one; sources are asked for by name and added once."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._marks: dict[str, str] = {}
        self._known: dict[str, Value] = {}

    def source(self, name: str, block: str, config: Mapping[str, Any], port: Port, width: int = 1, fields: int = 0) -> Value:
        """Return the value of a source, which keeps its name."""
        if name not in self._known:
            line = HISTORY if port == "sequence" else ""
            mark = self._put(name, block, (), config)
            self._known[name] = Value(name, mark, port, width, fields, line, bool(line))
        return self._known[name]

    def add(
        self, block: str, inputs: Sequence[Value], config: Mapping[str, Any] | None = None, *, port: Port, width: int, fields: int = 0
    ) -> Value:
        """Return the value of a new node; a sequence has the steps of its first input."""
        name = f"node{len(self._nodes)}"
        mark = self._put(name, block, inputs, config or {})
        line = inputs[0].steps.line if port == "sequence" else ""
        stepwise = line == HISTORY and all(value.stepwise for value in inputs)
        return Value(name, mark, port, width, fields, line, stepwise)

    def _put(self, name: str, block: str, inputs: Sequence[Value], config: Mapping[str, Any]) -> str:
        self._nodes[name] = Node(name, block, tuple(value.name for value in inputs), dict(config))
        told = json.dumps([block, config, [value.mark for value in inputs]], sort_keys=True)
        self._marks[name] = hashlib.sha256(told.encode()).hexdigest()
        return self._marks[name]

    def finish(self, outputs: Mapping[str, Value], losses: Sequence[Value], batching: Batching) -> Architecture:
        """Return what the outputs and losses reach, in an order and with names that depend on nothing but the graph."""
        order = self._ordered([*outputs.values(), *losses])
        names: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for node in order:
            word = node.id if node.is_source else node.block.partition("/")[2].replace("-", "_")
            counts[word] += 1
            names[node.id] = word if counts[word] == 1 else f"{word}_{counts[word]}"
        nodes = tuple(replace(node, id=names[node.id], inputs=tuple(names[name] for name in node.inputs)) for node in order)
        return Architecture(nodes, {task: names[value.name] for task, value in outputs.items()}, batching)

    def _ordered(self, ends: Sequence[Value]) -> list[Node]:
        """Return the reached nodes, each behind its inputs, and otherwise by their marks."""
        reached, waiting = set[str](), [value.name for value in ends]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self._nodes[name].inputs
        left = {name: set(self._nodes[name].inputs) for name in self._nodes if name in reached}
        ready = [(self._marks[name], name) for name, above in left.items() if not above]
        heapq.heapify(ready)
        order = []
        while ready:
            name = heapq.heappop(ready)[1]
            order.append(self._nodes[name])
            for other in (other for other, above in left.items() if name in above):
                left[other].discard(name)
                if not left[other]:
                    heapq.heappush(ready, (self._marks[other], other))
        return order
