"""What each task learns: a number for `rate`, 0 or 1 for `click` and `recommend`."""

from __future__ import annotations

import numpy as np

from autorec_kernel.features.entities import POSITIVE, label_of
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Table

__all__ = ["label_name", "label_range", "labels_of", "link_of"]


def label_name(schema: Schema) -> str:
    """Return the name that the task's label goes by: its column, or `event` where every row is a positive."""
    column = schema.role("label")
    return column.name if column is not None else "event"


def link_of(task: str) -> str:
    """Return the scale of predictions: value for `rate`, logit otherwise."""
    return "value" if task == "rate" else "logit"


def labels_of(events: Table, schema: Schema, task: str) -> np.ndarray:
    """Return float32 [n]; numbers beyond 1e30 are cut."""
    label = label_of(events, schema)
    if task != "rate" or label is None:
        return np.asarray(events[POSITIVE], dtype=np.float32)
    return np.asarray(np.clip(label, -1e30, 1e30), dtype=np.float32)


def label_range(label: np.ndarray) -> tuple[float, float, float]:
    """Return (low, high, mean) of the known labels; zeros when there is none."""
    known = label[np.isfinite(label)].astype(np.float64)
    return (float(known.min()), float(known.max()), float(known.mean())) if len(known) else (0.0, 0.0, 0.0)
