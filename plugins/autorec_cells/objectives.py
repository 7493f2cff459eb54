"""Training objectives of a retriever's cell: a loss block and the negatives that it draws."""

from __future__ import annotations

from typing import Any, Literal

from autorec_cells.draft import Draft, Value
from autorec_kernel.records.features import FeatureSchema

__all__ = ["OBJECTIVES", "Objective", "loss_of"]

Objective = Literal["auto", "softmax", "sampled", "bce", "gbce", "bpr-max", "top1-max"]
OBJECTIVES = ("auto", "softmax", "sampled", "bce", "gbce", "bpr-max", "top1-max")
_SAMPLED: dict[str, tuple[str, dict[str, Any], int]] = {  # objective -> block, its options, negatives that a batch shares
    "sampled": ("blocks/sampled-softmax-loss", {}, 1024),
    "bce": ("blocks/sampled-bce-loss", {}, 128),
    "gbce": ("blocks/sampled-bce-loss", {"calibration": 0.75}, 256),
    "bpr-max": ("blocks/ranking-max-loss", {"kind": "bpr-max"}, 512),
    "top1-max": ("blocks/ranking-max-loss", {"kind": "top1-max"}, 512),
}
_GFLOPS, _EPOCH_SECONDS = 40.0, 60.0  # dense float32 speed of one core, and what a full softmax may take of an epoch


def loss_of(draft: Draft, kind: Objective, states: Value, items: Value, features: FeatureSchema) -> Value:
    """Return the loss of user vectors or states against the rows of the item table; `auto` is a full softmax where that is quick."""
    chosen = _quick(features, items.width) if kind == "auto" else kind
    target = draft.source("target", "@target", {"index": True}, "vector")
    if chosen == "softmax":
        return draft.add("blocks/softmax-loss", [states, items, target], port="loss", width=1)
    block, config, count = _SAMPLED[chosen]
    drawn = draft.source("drawn", "@negatives", {"index": True, "shared": True, "count": count}, "table")
    return draft.add(block, [states, target, items, drawn], config, port="loss", width=1)


def _quick(features: FeatureSchema, width: int) -> str:
    """Return `softmax` where scoring the catalogue for every event takes a minute of one core: scores and their two gradients."""
    seconds = 6.0 * features.events * features.items * width / (_GFLOPS * 1e9)
    return "softmax" if seconds <= _EPOCH_SECONDS else "sampled"
