"""Declares the leaking ops."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

NAMES = {
    "future-count": "FutureCount",
    "item-mean-of-all": "ItemMeanOfAll",
    "late-rows-only": "LateRowsOnly",
    "next-item": "NextItem",
    "own-label": "OwnLabel",
    "popularity-to-come": "PopularityToCome",
    "target-without-folds": "TargetWithoutFolds",
    "training-values": "TrainingValues",
}


@hookimpl
def autorec_feature_ops() -> tuple[ComponentSpec, ...]:
    """Return the ops."""
    return tuple(ComponentSpec(name, f"autorec_leaks.ops:{kind}", f"Leaks: {name}.") for name, kind in NAMES.items())
