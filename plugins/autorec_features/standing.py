"""What an item stands at strictly before a row: how often it was met, and what it got; both as a number and in bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from autorec_features.keys import Keys
from autorec_features.running import blank_means, mean_of
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Step

__all__ = ["FIXED", "POPULARITY", "QUALITY", "STANDINGS", "Value", "bands", "item_mean", "said"]

POPULARITY, QUALITY = "@popularity", "@quality"  # no column has such a name
_MEANS, _COUNTS = "item means", "item counts"
_QUALITY_EDGES = (-0.75, -0.45, -0.15, 0.15, 0.45, 0.75)
_POPULARITY_EDGES = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
_STRENGTH = 5.0  # labels that the prior of an item is worth


@dataclass(frozen=True, slots=True)
class Value:
    """How a program makes the number of an item, `.value`.

    Args:
        inputs: Columns that the steps read.
        steps: In order; the last output is `.value`.
        tables, arrays: Of the steps.
        edges: Where the number is cut into bands.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    tables: Mapping[str, AsOfTable] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    edges: tuple[float, ...] = ()


def _quality(items: int, label: str) -> Value:
    """Return the item's mean of `label` (standardised) before the row, in units of two thirds."""
    steps = (
        *mean_of(".got", "items", "@item_key", _STRENGTH),
        Step("affine", (".got",), ".value", {"shift": 0.0, "scale": 1.5}),
    )
    table = {"items": blank_means("@item_key", items, label)}
    return Value(("@item_key", "@clock"), steps, table, edges=_QUALITY_EDGES)


def _popularity(items: int, label: str) -> Value:
    """Return (log(1 + n) - 2) / 2 of the item's n events before the row."""
    nothing = {name: np.zeros(0, np.int64) for name in ("@item_key", "@clock")}
    steps = (
        Step("as_of", ("@item_key", "@clock"), ".met", {"table": "items"}),
        Step("log1p", (".met",), ".met log"),
        Step("affine", (".met log",), ".value", {"shift": 2.0, "scale": 0.5}),
    )
    table = {"items": AsOfTable.sums(nothing, items, key="@item_key", measures=(Measure(),))}
    return Value(("@item_key", "@clock"), steps, table, edges=_POPULARITY_EDGES)


def said(items: int, item: np.ndarray, standard: np.ndarray, share: float = 1.0) -> dict[str, np.ndarray]:
    """Return what users say of the items as arrays [items]: `item means`, shrunk, and `item counts` on a log scale, row 0 = unknown.

    Args:
        item: int64 [m], rows of items.
        standard: float64 [m], labels in deviations from the prior; NaN = unknown.
        share: Share of all users that these are, which counts and sums are scaled up by.
    """
    known = np.isfinite(standard)
    share = max(share, 1e-9)
    labels, total = np.bincount(item, known, items) / share, np.bincount(item, np.where(known, standard, 0.0), items) / share
    means, counts = total / (labels + _STRENGTH), (np.log1p(np.bincount(item, minlength=items) / share) - 2.0) * 0.5
    means[0], counts[0] = 0.0, -1.0
    return {_MEANS: means, _COUNTS: counts}


def item_mean(output: str) -> Step:
    """Return the step to the mean that other users gave the row's item: an array of `said`."""
    return Step("gather", ("@item",), output, {"table": _MEANS})


STANDINGS: Mapping[str, Callable[[int, str], Value]] = {POPULARITY: _popularity, QUALITY: _quality}
FIXED: Mapping[str, Value] = {  # by arrays of `said`
    POPULARITY: Value(("@item",), (Step("gather", ("@item",), ".value", {"table": _COUNTS}),), edges=_POPULARITY_EDGES),
    QUALITY: Value(
        ("@item",),
        (item_mean(".got"), Step("affine", (".got",), ".value", {"shift": 0.0, "scale": 1.5})),
        edges=_QUALITY_EDGES,
    ),
}


def bands(name: str, items: int, label: str, clock: str = "time") -> tuple[Keys, Mapping[str, AsOfTable]]:
    """Return the bands of a standing as keys of an aggregate, and the tables that they need.

    Args:
        items: Rows of items, row 0 = unknown included.
        label: Value of the program that holds the standardised label.
        clock: time: as of the row; position: by arrays of `said`.
    """
    value = STANDINGS[name](items, label) if clock == "time" else FIXED[name]
    steps = (*value.steps, Step("bucketize", (".value",), ".band", {"edges": "bands"}))
    return Keys(steps, ".band", len(value.edges) + 2, value.inputs, {"bands": np.array(value.edges)}), value.tables
