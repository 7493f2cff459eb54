"""What sequential retrievers share: the history they read, the catalogue they answer from and the objectives they can be trained on."""

from __future__ import annotations

from typing import Literal

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["Objective", "cheapest", "history_of", "objective"]

Objective = Literal["auto", "softmax", "sampled", "bce", "gbce"]

_GFLOPS = 40.0  # dense float32 speed of one core
_EPOCH_SECONDS = 60.0  # what a full softmax may take of an epoch
_SHARED = 1024  # negatives that a batch shares


def history_of(features: FeatureSchema, model: str, item_num: int | None = None) -> Feature:
    """Return the history feature that a sequential model reads.

    Raises:
        ContractError: The order of the events is unknown, there is no history feature, or the catalogue has another size.
    """
    histories = features.of("history")
    if not histories or not features.ordered:
        raise ContractError(f"{model} reads an ordered history: it needs a time or position column and the history op")
    if item_num is not None and item_num != features.items - 1:
        raise ContractError(f"item_num is {item_num}, but the catalogue has {features.items - 1} items: leave it out or correct it")
    return histories[0]


def cheapest(features: FeatureSchema, width: int) -> Literal["softmax", "sampled"]:
    """Return `softmax` where a pass over all training events scores the whole catalogue in a minute of one core, else `sampled`.

    Args:
        width: Dimension of an item vector. Three products of 2 · items · width operations an event: scores and their two gradients.
    """
    seconds = 6.0 * features.events * features.items * width / (_GFLOPS * 1e9)
    return "softmax" if seconds <= _EPOCH_SECONDS else "sampled"


def objective(kind: Objective, states: str, items: str, features: FeatureSchema, width: int) -> list[Node]:
    """Return the nodes of a loss over the steps `states` and the item table `items`."""
    chosen = cheapest(features, width) if kind == "auto" else kind
    target = Node("target", "@target", config={"index": True})
    if chosen == "softmax":
        return [target, Node("loss", "blocks/softmax-loss", (states, items, "target"))]
    drawn = Node("drawn", "@negatives", config={"index": True, "shared": True, "count": _SHARED})
    return [target, drawn, Node("loss", "blocks/sampled-softmax-loss", (states, "target", items, "drawn"))]
