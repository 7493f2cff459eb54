"""The two tables of drift: the rows that a bundle gets its profile from, and any table that is held against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.data import read_source
from autorec_kernel.data.kinds import convert
from autorec_kernel.data.understand import ids
from autorec_kernel.deploy.rows import named
from autorec_kernel.errors import DataError
from autorec_kernel.features.before import state_before
from autorec_kernel.features.entities import texts
from autorec_kernel.records.drift import DriftProfile
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Coded, Ragged
from autorec_kernel.serving.drift import gathered, with_ids
from autorec_kernel.serving.predict import count_rows

if TYPE_CHECKING:
    from autorec_kernel.data.source import Raw
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.table import ColumnData, Table
    from autorec_kernel.serving.drift import DriftReport
    from autorec_kernel.serving.recommender import Recommender

    Asked = tuple[list[str | None] | None, list[str | None] | None, dict[str, ColumnData]]

__all__ = ["drift_report", "held_out_profile"]

_ROWS = 50_000  # rows that a profile is taken from, evenly spaced


def held_out_profile(final: FeatureSet, names: Iterable[str], dataset: Dataset) -> DriftProfile | None:
    """Return the profile of features over rows that the state they are read from does not know, as it does not know later ones.

    These are the validation rows, read from the state before them; where there are none, training rows, which the state knows. Test rows
    are never read.

    Args:
        final: The feature set of the served model, fitted on training and validation rows.
    """
    names, state, schema = with_ids(final.schema, names), final.state(), final.schema
    known = _asked(dataset.final().train, final.columns)
    if not names or not count_rows(*known):
        return None
    ranges = gathered(state, names, *known)
    held = dataset.valid.rows > 0
    reference = _asked(dataset.valid, final.columns) if held else known
    values = _held_out(final, names, dataset, reference, ranges) if held else ranges
    features = [schema[name] for name in names]
    return DriftProfile.of(values, features, ranges=ranges, hashed=_hashed(final), held_out=held, users=reference[0])


def _held_out(
    final: FeatureSet, names: list[str], dataset: Dataset, asked: Asked, ranges: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the inputs of validation rows as the state of the training rows has them, in the terms of the final state.

    Sums, ages and means of a state move as it grows. A value that says no more than that of a stranger, or of a stranger with this item,
    is that of the final state, and so is what does not depend on the user: few rows of many are a row's own. Any other one that events
    change becomes the value that stands, among the rows which the final state knows, where it stood among those which the earlier knows.
    """
    before, (users, items, columns) = state_before(final, names, dataset.train, dataset.valid), asked
    nobody, nothing = None if users is None else [None] * len(users), None if items is None else [None] * len(items)
    values, known = gathered(before, names, users, items, columns), gathered(before, names, *_asked(dataset.train, final.columns))
    moving = [name for name in names if final.schema[name].dynamic and final.schema[name].kind == "numeric"]
    blank, plain = ([gathered(state, moving, nobody, one, columns) for state in (before, final.state())] for one in (nothing, items))
    for name in moving:
        found, of_user = values[name], values[name] != plain[0][name]
        moved = np.stack([_moved(*parts) for parts in zip(found.T, known[name].T, ranges[name].T, strict=True)], 1)
        values[name] = np.where(found == blank[0][name], blank[1][name], np.where(of_user, moved, plain[1][name]))
    return values


def _moved(values: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Return float32 [n]: where each value stands among those before, the value that stands there now; outside, as far outside."""
    before, now = np.sort(before), np.sort(now)
    rank = (np.searchsorted(before, values, "left") + np.searchsorted(before, values, "right")) / (2 * len(before))
    found = now[np.minimum((rank * len(now)).astype(np.int64), len(now) - 1)]
    outside = np.where(values < before[0], now[0] + (values - before[0]), now[-1] + (values - before[-1]))
    return np.where((values < before[0]) | (values > before[-1]), outside, found).astype(np.float32)


def drift_report(source: Any, recommender: Recommender, *, kernel: Kernel | None = None) -> DriftReport:
    """Read a table as far as it can be read, and compare it with the training rows of a bundle.

    Args:
        source: A file, a frame, or what a reader plugin of `kernel` opens; nothing is demanded of its columns.
    """
    raw = read_source(source, kernel=kernel)
    if not raw.rows:
        raise DataError("the table has no rows, and drift compares rows", where=raw.name, hint="look at how it was filtered or exported")
    schema = Schema.from_json(recommender.schema["columns"])
    found = {role: name for role in ("user", "item") if (name := named(raw, schema, role)) and _is_ids(raw.columns[name])}
    users, items = (
        list(ids(raw.columns[found[role]], found[role], raw.name).text()) if role in found else None for role in ("user", "item")
    )
    unread = {name: Ragged(np.zeros(0), np.zeros(raw.rows + 1, np.int64)) for name in raw.refused}
    columns = {name: _read(raw, schema, name) for name in raw.columns if name not in found.values()}
    return recommender.drift(users, items, {**columns, **unread})


def _is_ids(column: ColumnData) -> bool:
    """Whether a column can be ids; lists cannot."""
    return isinstance(column, Coded) or (isinstance(column, np.ndarray) and column.ndim == 1)


def _read(raw: Raw, schema: Schema, name: str) -> ColumnData:
    """Return a column as the bundle reads it, or as it came where that is not possible."""
    kinds = {c.name: c.kind for c in schema.columns if c.source == "events" and c.role in ("feature", "time")}
    try:
        return convert(name, raw.columns[name], kinds[name], raw.name) if name in kinds else raw.columns[name]
    except DataError:
        return raw.columns[name]


def _asked(table: Table, schema: Schema) -> Asked:
    """Return users, items and the columns of some rows, as a recommender is asked for them."""
    count = min(table.rows, _ROWS)
    rows = table.take(np.linspace(0, table.rows - 1, count).astype(np.int64))
    context = [c.name for c in schema.columns if c.source == "events" and c.role in ("feature", "time")]
    users, items = (_texts(rows, column.name if (column := schema.role(role)) else "") for role in ("user", "item"))
    return users, items, {name: rows[name] for name in context}


def _hashed(features: FeatureSet) -> dict[str, int]:
    """Return id feature → the first of its rows that texts without a row of their own are hashed into."""
    made = {
        (id(op), step.output): step for op in features.fitted for step in op.program.steps if step.op == "hash" and len(step.inputs) > 1
    }
    found = {feature.name: made.get((id(op), op.output(feature.name))) for op in features.fitted for feature in op.features}
    return {name: int(step.params["size"]) for name, step in found.items() if step is not None}


def _texts(rows: Table, name: str) -> list[str | None] | None:
    return list(texts(rows[name]).text()) if name else None
