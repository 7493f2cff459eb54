"""What each task learns: a number for `rate`, 0 or 1 for `click` and `recommend`; further labels bring tasks of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from autorec_kernel.features.entities import POSITIVE, label_of
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Table

__all__ = ["implied", "label_name", "label_range", "labels_of", "settled", "shares_of", "tasks_of"]

_NEARLY_ALWAYS = 0.99  # logs lose a click now and then


def label_name(schema: Schema) -> str:
    """Return the name that the task's label goes by: its column, or `event` where every row is a positive."""
    column = schema.role("label")
    return column.name if column is not None else "event"


def tasks_of(schema: Schema, task: str) -> dict[str, str]:
    """Return label name → scale of its prediction, the primary label first.

    The primary one is a value for `rate` and a logit otherwise; of a further one its kind decides: numbers are values, 0 and 1 logits.
    """
    further = {column.name: "logit" if column.kind == "categorical" else "value" for column in schema.labels[1:]}
    return {label_name(schema): "value" if task == "rate" else "logit", **further}


def labels_of(events: Table, schema: Schema, task: str) -> dict[str, np.ndarray]:
    """Return label name → float32 [n], NaN = unknown, in the order of `tasks_of`; numbers beyond 1e30 are cut."""
    label = label_of(events, schema)
    primary = label if task == "rate" and label is not None else np.asarray(events[POSITIVE])
    columns = {label_name(schema): primary} | {column.name: np.asarray(events[column.name]) for column in schema.labels[1:]}
    return {name: np.asarray(np.clip(values, -1e30, 1e30), dtype=np.float32) for name, values in columns.items()}


def implied(labels: Mapping[str, np.ndarray], tasks: Mapping[str, str]) -> dict[str, tuple[str, ...]] | None:
    """Return 0/1 label → the other 0/1 labels that are 1 on 99 % of the rows where it is 1 and they are known; None for a single label."""
    binary = {name: label for name, label in labels.items() if tasks[name] == "logit"}
    return (
        {name: tuple(o for o in binary if o != name and _holds(label, binary[o])) for name, label in binary.items()}
        if len(tasks) > 1
        else None
    )


def _holds(label: np.ndarray, other: np.ndarray) -> bool:
    known = (label == 1) & ~np.isnan(other)
    return bool(known.any() and (other[known] == 1).mean() >= _NEARLY_ALWAYS)


def shares_of(labels: Mapping[str, np.ndarray], tasks: Mapping[str, str]) -> dict[str, dict[str, float]] | None:
    """Return 0/1 label → other 0/1 label → mean of the first on rows where it is known and the other is 1; None for a single label.

    This is the chance of a conversion after a click, whether conversions without a click are written down as 0 or left unknown.
    """
    binary = {name: label for name, label in labels.items() if tasks[name] == "logit"}
    found = {name: {o: _share(label, other) for o, other in binary.items() if o != name} for name, label in binary.items()}
    return {name: {o: share for o, share in row.items() if share is not None} for name, row in found.items()} if len(tasks) > 1 else None


def _share(label: np.ndarray, other: np.ndarray) -> float | None:
    known = label[(other == 1) & ~np.isnan(label)]
    return float(known.astype(np.float64).mean()) if len(known) else None


def settled(label: np.ndarray, implied_labels: Iterable[np.ndarray]) -> np.ndarray:
    """Return float32 [n], the label with 0 where it is unknown and a label that it implies is 0: without a click nothing is bought."""
    found = np.array(label, dtype=np.float32)
    for other in implied_labels:
        found[np.isnan(found) & (other == 0)] = 0.0
    return found


def label_range(label: np.ndarray) -> tuple[float, float, float]:
    """Return (low, high, mean) of the known labels; zeros when there is none."""
    known = label[np.isfinite(label)].astype(np.float64)
    return (float(known.min()), float(known.max()), float(known.mean())) if len(known) else (0.0, 0.0, 0.0)
