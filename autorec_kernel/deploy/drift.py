"""The two tables of drift: training rows, from which a bundle gets its profile, and any table that is held against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.data import read_source
from autorec_kernel.data.kinds import convert
from autorec_kernel.data.understand import ids
from autorec_kernel.deploy.rows import named
from autorec_kernel.errors import DataError
from autorec_kernel.features.entities import texts
from autorec_kernel.records.schema import Schema
from autorec_kernel.serving.drift import profiled

if TYPE_CHECKING:
    from autorec_kernel.data.source import Raw
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.drift import DriftProfile
    from autorec_kernel.records.serving_state import ServingState
    from autorec_kernel.records.table import ColumnData, Table
    from autorec_kernel.serving.drift import DriftReport
    from autorec_kernel.serving.recommender import Recommender

__all__ = ["drift_report", "training_profile"]

_ROWS = 50_000  # training rows that a profile is taken from, evenly spaced


def training_profile(state: ServingState, names: Iterable[str], dataset: Dataset) -> DriftProfile | None:
    """Return the profile of features over the rows before the test part, each read from `state` as serving reads it."""
    share = min(1.0, _ROWS / max(1, dataset.train.rows + dataset.valid.rows))
    rows = replace(dataset, train=_spaced(dataset.train, share), valid=_spaced(dataset.valid, share)).final().train
    users, items = (_texts(rows, state.columns.get(entity, "")) for entity in ("user", "item"))
    context = [c.name for c in dataset.schema.columns if c.source == "events" and c.role in ("feature", "time")]
    return profiled(state, names, users, items, {name: rows[name] for name in context})


def drift_report(source: Any, recommender: Recommender, *, kernel: Kernel | None = None) -> DriftReport:
    """Read a table as far as it can be read, and compare it with the training rows of a bundle.

    Args:
        source: A file, a frame, or what a reader plugin of `kernel` opens; nothing is demanded of its columns.
    """
    raw = read_source(source, kernel=kernel)
    schema = Schema.from_json(recommender.schema["columns"])
    found = [named(raw, schema, role) for role in ("user", "item")]
    users, items = (list(ids(raw.columns[name], name, raw.name).text()) if name else None for name in found)
    return recommender.drift(users, items, {name: _read(raw, schema, name) for name in raw.columns if name not in found})


def _read(raw: Raw, schema: Schema, name: str) -> ColumnData:
    """Return a column as the bundle reads it, or as it came where that is not possible."""
    kinds = {c.name: c.kind for c in schema.columns if c.source == "events" and c.role in ("feature", "time")}
    try:
        return convert(name, raw.columns[name], kinds[name], raw.name) if name in kinds else raw.columns[name]
    except DataError:
        return raw.columns[name]


def _spaced(table: Table, share: float) -> Table:
    return table.take(np.linspace(0, table.rows - 1, round(share * table.rows)).astype(np.int64))


def _texts(rows: Table, name: str) -> list[str | None] | None:
    return list(texts(rows[name]).text()) if name else None
