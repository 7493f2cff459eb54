"""Closed forms as parts of a fusion: nodes that end in scores of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["Solved", "history_of", "solved_scores"]

Solved = Literal["auto", "directed", "ease", "neighbours", "factors", "popularity"]

_EXACT = 20_000  # items on which EASE is solved exactly at most, where the smaller side times them takes 1.6 GB
_FREQUENT = 12_000  # the most frequent items, which a larger catalogue is solved on
_HALF_LIFE = 0.2  # of the time span, as the baseline of recent popularity has it
_DIRECTED, _FOLLOWED = 4_000, 3_000  # the same two of the directed form


@dataclass(frozen=True, slots=True)
class Part:
    """What a closed form is solved and read with.

    Args:
        decay: Weight of a step relative to the one after it; without an order nothing fades.
        backward: Weight of a pair of items against its direction.
        length: Newest steps of the history that are read; 0 = all.
    """

    name: str
    kind: Solved
    regularisation: float
    decay: float
    backward: float
    length: int = 0


def history_of(features: FeatureSchema, ordered: bool) -> Feature:
    """Return the history feature.

    Raises:
        ContractError: There is none, or its order is unknown and wanted.
    """
    histories = features.of("history")
    if not histories:
        raise ContractError("a fusion scores from a history, and the feature set has none: enable the history op")
    if ordered and not features.ordered:
        raise ContractError("it reads an ordered history: that needs a time or position column")
    return histories[0]


def solved_scores(part: Part, features: FeatureSchema) -> list[Node]:
    """Return the nodes of a closed form; the last one, called `part.name`, are its scores [A, N].

    Raises:
        ContractError: What follows an item is asked of events without an order.
    """
    kind = part.kind if part.kind != "auto" else "directed" if features.ordered else "ease"
    if kind == "popularity":
        return _popular(part, features)
    source = history_of(features, ordered=kind == "directed")
    length = {"length": part.length} if part.length else {}
    history = Node(f"{part.name}_history", "@history", config={"columns": [source.name], "index": True, **length})
    decay = part.decay if features.ordered else 1.0
    if kind == "factors":
        return [history, *_factors(part, features, decay)]
    weights = _weights(part, kind, features, decay)
    return [history, weights, Node(part.name, "blocks/neighbour-scores", (history.id, weights.id), {"decay": decay})]


def _weights(part: Part, kind: str, features: FeatureSchema, decay: float) -> Node:
    """Return the item-item matrix, equal to that of the baseline of its kind, so that both are solved once."""
    name, config = f"{part.name}_weights", dict[str, Any](rows=features.items)
    if kind == "neighbours":
        return Node(name, "blocks/item-similarity", (), {**config, "neighbours": 200, "shrinkage": 10.0})
    config["regularisation"] = part.regularisation
    if kind == "directed":
        frequent = {"frequent": _FOLLOWED} if features.items > _DIRECTED else {}
        return Node(name, "blocks/directed", (), {**config, "decay": decay, "backward": part.backward, **frequent})
    large = min(features.users, features.items) * features.items > _EXACT**2
    return Node(name, "blocks/ease", (), {**config, **({"frequent": _FREQUENT} if large else {})})


def _factors(part: Part, features: FeatureSchema, decay: float) -> list[Node]:
    """Return implicit least squares with the options of its baseline, the user folded in from the history."""
    confidence = 5.0
    config = {"rows": features.items, "width": 64, "regularisation": 10.0, "confidence": confidence, "sweeps": 10}
    items = Node(f"{part.name}_items", "blocks/als-items", (), config)
    folding = {"confidence": confidence, "decay": decay}
    user = Node(f"{part.name}_user", "blocks/fold-in", (f"{part.name}_history", items.id), folding)
    return [items, user, Node(part.name, "blocks/table-scores", (user.id, items.id))]


def _popular(part: Part, features: FeatureSchema) -> list[Node]:
    """Return log(1 + count) of every item, the same for all users; where events have an order, those of long ago count less.

    Raises:
        ContractError: The data has no user column, of which the graph reads how many rows there are.
    """
    if not features.user:
        raise ContractError("popularity answers users, and the data has no user column")
    config = {"rows": features.items} | ({"half_life": _HALF_LIFE} if features.ordered else {})
    one = Node(f"{part.name}_one", "@constant", config={"columns": [features.user]})
    items = Node(f"{part.name}_items", "blocks/item-counts", (), config)
    return [one, items, Node(part.name, "blocks/table-scores", (one.id, items.id))]
