"""First stages: closed forms as nodes that end in scores of the catalogue, those of the baselines, so that a run solves them once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["First", "Form", "first_scores", "history_of"]

Form = Literal["auto", "directed", "ease", "neighbours", "factors"]

_EXACT, _FREQUENT = 20_000, 12_000  # items on which EASE is solved exactly at most, and the most frequent ones of a larger catalogue
_DIRECTED, _FOLLOWED = 4_000, 3_000  # the same two of the directed form


@dataclass(frozen=True, slots=True)
class First:
    """What a closed form is solved and read with.

    Args:
        decay: Weight of a step relative to the one after it; without an order nothing fades.
        backward: Weight of a pair of items against its direction.
    """

    name: str
    form: Form
    regularisation: float
    decay: float
    backward: float


def history_of(features: FeatureSchema) -> Feature:
    """Return the history feature.

    Raises:
        ContractError: There is none.
    """
    histories = features.of("history")
    if not histories:
        raise ContractError("a cascade reads a history, and the feature set has none: enable the history op")
    return histories[0]


def first_scores(part: First, history: str, features: FeatureSchema) -> list[Node]:
    """Return the nodes of a closed form above the node `history`; the last one, called `part.name`, are its scores [A, N].

    Raises:
        ContractError: What follows an item is asked of events without an order.
    """
    form = part.form if part.form != "auto" else "directed" if features.ordered else "ease"
    if form == "directed" and not features.ordered:
        raise ContractError("the directed form reads an ordered history: that needs a time or position column")
    decay = part.decay if features.ordered else 1.0
    if form == "factors":
        return _factors(part.name, history, features, decay)
    weights = _weights(part, form, features, decay)
    return [weights, Node(part.name, "blocks/neighbour-scores", (history, weights.id), {"decay": decay})]


def _weights(part: First, form: str, features: FeatureSchema, decay: float) -> Node:
    """Return the item-item matrix."""
    name, config = f"{part.name}_weights", dict[str, Any](rows=features.items)
    if form == "neighbours":
        return Node(name, "blocks/item-similarity", (), {**config, "neighbours": 200, "shrinkage": 10.0})
    config["regularisation"] = part.regularisation
    if form == "directed":
        frequent = {"frequent": _FOLLOWED} if features.items > _DIRECTED else {}
        return Node(name, "blocks/directed", (), {**config, "decay": decay, "backward": part.backward, **frequent})
    large = min(features.users, features.items) * features.items > _EXACT**2
    return Node(name, "blocks/ease", (), {**config, **({"frequent": _FREQUENT} if large else {})})


def _factors(name: str, history: str, features: FeatureSchema, decay: float) -> list[Node]:
    """Return implicit least squares, the user folded in from the history."""
    config = {"rows": features.items, "width": 64, "regularisation": 10.0, "confidence": 5.0, "sweeps": 10}
    items = Node(f"{name}_items", "blocks/als-items", (), config)
    user = Node(f"{name}_user", "blocks/fold-in", (history, items.id), {"confidence": 5.0, "decay": decay})
    return [items, user, Node(name, "blocks/table-scores", (user.id, items.id))]
