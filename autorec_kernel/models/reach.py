"""What of a graph runs when: the nodes training needs, those serving runs for a row, and those whose values are stored tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autorec_kernel.models.sources import on_entity
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

__all__ = ["Reach", "reach_of"]


@dataclass(frozen=True, slots=True)
class Reach:
    """The parts of a graph, each in topological order.

    Args:
        losses: LOSS nodes that no other node reads: what is summed.
        training: What `losses` read, or, where there is none, what the tasks' outputs read.
        serving: What is run for a row, with stored values instead of what `static` nodes read.
        static: Ids of the nodes that depend on no row.
        stored: Static nodes whose values a row's nodes read, or that are an output: computed once, then a table.
        border: Those of them that serving reads.
    """

    losses: tuple[str, ...]
    training: tuple[Node, ...]
    serving: tuple[Node, ...]
    static: frozenset[str]
    stored: tuple[str, ...]
    border: tuple[str, ...]


def reach_of(architecture: Architecture, specs: Mapping[str, TensorSpec]) -> Reach:
    """Take a graph apart."""
    read = {name.lstrip("~") for node in architecture.nodes for name in node.inputs}
    losses = tuple(node.id for node in architecture.nodes if specs[node.id].port == "loss" and node.id not in read)
    static = _static(architecture)
    rows = [name for task, name in architecture.outputs.items() if task != "item" or "user" not in architecture.outputs]
    border = _stored(architecture, rows, specs, static)
    item = architecture.outputs.get("item", "") if "user" in architecture.outputs else ""
    stored = tuple(dict.fromkeys((*border, *([item] if item in static and _computed(architecture[item], specs) else []))))
    training = ancestors(architecture, losses or architecture.outputs.values(), steps=True)
    return Reach(losses, training, ancestors(architecture, rows, stop=border), static, stored, border)


def ancestors(architecture: Architecture, names: Iterable[str], *, stop: Iterable[str] = (), steps: bool = False) -> tuple[Node, ...]:
    """Return what `names` read, themselves included, in topological order.

    Args:
        stop: Nodes left out with all that only they read.
        steps: Whether `~` inputs are followed.
    """
    reached, border, before = set(names), set(stop), -1
    while before != len(reached):
        before = len(reached)
        for node in reversed(architecture.nodes):
            if node.id in reached and node.id not in border:
                reached.update(name.lstrip("~") for name in node.inputs if steps or not name.startswith("~"))
    return tuple(node for node in architecture.nodes if node.id in reached and node.id not in border)


def _static(architecture: Architecture) -> frozenset[str]:
    found: set[str] = set()
    for node in architecture.nodes:
        constant = node.block == "@table" or on_entity(node) if node.is_source else all(name in found for name in node.inputs)
        if constant:
            found.add(node.id)
    return frozenset(found)


def _stored(architecture: Architecture, rows: Iterable[str], specs: Mapping[str, TensorSpec], static: frozenset[str]) -> tuple[str, ...]:
    reached = {node.id for node in ancestors(architecture, rows)}
    read = {name for node in architecture.nodes if node.id in reached and node.id not in static for name in node.inputs}
    return tuple(n.id for n in architecture.nodes if n.id in read and n.id in static and _computed(n, specs))


def _computed(node: Node, specs: Mapping[str, TensorSpec]) -> bool:
    """Return whether a static value costs anything: stored parameters and solved tables are tables already."""
    return (bool(node.inputs) and not specs[node.id].neighbours) or on_entity(node)
