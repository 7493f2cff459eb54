"""Trained sequence models as parts of a fusion: nodes from a history to states, scores of the catalogue and a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["Objective", "Trained", "Unit", "trained_scores"]

Unit = Literal["convolution", "attention", "gru", "lstm"]
Objective = Literal["auto", "softmax", "sampled", "gbce"]

_SAMPLED: dict[str, tuple[str, dict[str, Any], int]] = {  # objective -> block, its options, negatives that a batch shares
    "sampled": ("blocks/sampled-softmax-loss", {}, 1024),
    "gbce": ("blocks/sampled-bce-loss", {"calibration": 0.75}, 256),
}
_GFLOPS, _EPOCH_SECONDS = 40.0, 60.0  # dense float32 speed of one core, and what a full softmax may take of an epoch


@dataclass(frozen=True, slots=True)
class Trained:
    """A sequence model.

    Args:
        width: Dimension of an item vector, and of the states of those units that keep the width.
        states: Width of a recurrent state.
        length: Newest steps that are read.
        temperature: What scores are divided by in the loss: below 1, small item vectors tell items apart, which are learned sooner.
    """

    name: str
    unit: Unit
    width: int
    states: int
    layers: int
    heads: int
    kernel: int
    length: int
    dropout: float
    loss: Objective
    temperature: float

    @property
    def has_temperature(self) -> bool:
        """Return whether the loss divides scores by the temperature: a softmax does."""
        return self.loss != "gbce"


def trained_scores(part: Trained, source: Feature, features: FeatureSchema) -> list[Node]:
    """Return the nodes, among them the scores [A, N] called `part.name`, and a loss at every step of a history."""
    name = part.name
    history = {"columns": [source.name], "width": part.width, "length": part.length}
    units = _units(part)
    states = units[-1].id
    return [
        Node(f"{name}_history", "@history", config=history),
        *units,
        Node(f"{name}_user", "blocks/pool", (states,), {"mode": "last"}),
        Node(f"{name}_items", "@table", config={"table": source.vocabulary, "width": part.width}),
        Node(name, "blocks/table-scores", (f"{name}_user", f"{name}_items")),
        *_objective(part, states, features),
    ]


def _units(part: Trained) -> list[Node]:
    """Return the nodes from the history to states as wide as an item vector."""
    history, states = f"{part.name}_history", f"{part.name}_states"
    layers = {"layers": part.layers, "dropout": part.dropout}
    if part.unit == "convolution":
        return [Node(states, "blocks/dilated-convolution", (history,), {**layers, "kernel": part.kernel})]
    if part.unit == "attention":
        placed = Node(f"{part.name}_placed", "blocks/positions", (history,), {"max_length": part.length, "dropout": part.dropout})
        return [placed, Node(states, "blocks/encoder", (placed.id,), {**layers, "heads": part.heads})]
    unit = Node(f"{part.name}_unit", f"blocks/{part.unit}", (history,), {**layers, "width": part.states})
    return [unit, Node(states, "blocks/project-steps", (unit.id,), {"width": part.width, "bias": False})]


def _objective(part: Trained, states: str, features: FeatureSchema) -> list[Node]:
    items = f"{part.name}_items"
    target = Node("target", "@target", config={"index": True})
    chosen = _quick(features, part.width) if part.loss == "auto" else part.loss
    if chosen == "softmax":
        return [target, Node("loss", "blocks/softmax-loss", (states, items, target.id), {"temperature": part.temperature})]
    block, config, count = _SAMPLED[chosen]
    config = {"temperature": part.temperature} if part.has_temperature else config
    drawn = Node("drawn", "@negatives", config={"index": True, "shared": True, "count": count})
    return [target, drawn, Node("loss", block, (states, target.id, items, drawn.id), config)]


def _quick(features: FeatureSchema, width: int) -> str:
    """Return `softmax` where scoring the catalogue for every event takes a minute of one core: scores and their two gradients."""
    seconds = 6.0 * features.events * features.items * width / (_GFLOPS * 1e9)
    return "softmax" if seconds <= _EPOCH_SECONDS else "sampled"
