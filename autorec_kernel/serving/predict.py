"""Predictions in label scale: clipped to the labels seen in training, and never an exception or a bare zero for an unknown id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.table import take_column
from autorec_kernel.serving.answer import Prediction
from autorec_kernel.serving.requests import Request, stored_request
from autorec_kernel.serving.scorers import RowScorer, Scorer

if TYPE_CHECKING:
    from autorec_kernel.records.serving_state import ServingState
    from autorec_kernel.records.table import ColumnData
    from autorec_kernel.serving.graph import Graph

__all__ = ["count_rows", "keys_of", "predict_rows", "reads_history", "tells"]

_ROWS = 4096
Catalogue = Callable[[Sequence[Request]], np.ndarray]


def tells(state: ServingState, names: Iterable[str], keys: np.ndarray, *, sides: bool = False) -> np.ndarray:
    """Return bool [n]: whether a model that reads these features is told more of users than their history, by user keys int64 [n].

    Of users of training it is as soon as it reads ids or user features (or nothing at all); of strangers, where their own events were
    folded in and it reads what events change.

    Args:
        sides: Whether a side table that says something of a stranger is enough. It is for rankers, which predict for him by it; lists of
            retrievers for such users were measured to be worse than what is popular.
    """
    found = [state.schema[name] for name in names]
    read = [one for one in found if one.depends in ("user", "pair") and one.kind != "history"]
    told = (keys > 0) & (keys < state.users.size) & (not found or bool(read))
    told |= np.isin(keys, state.later[:, 0]) & (not found or any(one.dynamic for one in read))
    strangers = np.flatnonzero(keys >= state.users.size)
    for table in (state.tables[one.name] for one in read if sides and len(strangers) and one.depends == "user" and not one.dynamic):
        own = strangers[keys[strangers] < len(table)]
        told[own] |= (table[keys[own]] != table[0]).reshape(len(own), table[0].size).any(axis=1)
    return told


def reads_history(graph: Graph, schema: FeatureSchema) -> bool:
    """Return whether the graph reads a history."""
    return any(schema[name].kind == "history" for name in graph.inputs)


def predict_rows(
    scorer: Scorer,
    state: ServingState,
    users: Sequence[str | None] | None,
    items: Sequence[str | None] | None,
    columns: Mapping[str, ColumnData] | None,
    catalogue: Catalogue,
) -> Prediction:
    """Predict every row; see `Recommender.predict`.

    Args:
        catalogue: Scores of the catalogue for some requests, strangers answered too (`Recommender.scores`).
    """
    count = count_rows(users, items, columns)
    user_keys = keys_of(state, "user", users, count)
    item_keys = keys_of(state, "item", items, count)
    user_rows, item_rows = np.where(user_keys < state.users.size, user_keys, 0), np.where(item_keys < state.items.size, item_keys, 0)
    names = scorer.graph.outputs if isinstance(scorer, RowScorer) else ("",)
    values = np.zeros((len(names), count))
    for start in range(0, count, _ROWS):
        block = slice(start, min(start + _ROWS, count))
        taken = {name: take_column(column, np.arange(block.start, block.stop)) for name, column in (columns or {}).items()}
        if isinstance(scorer, RowScorer):
            values[:, block] = scorer.rows(user_keys[block], item_keys[block], taken)
        else:
            values[0, block] = _retriever_block(catalogue, state, user_keys[block], item_rows[block])
    blind = _blind(scorer, state, user_keys, item_keys)
    told = {name: _sane(row, blind, name, state.schema) for name, row in zip(names, values, strict=True)}
    return Prediction(told[names[0]], user_rows > 0, item_rows > 0, {name: row for name, row in told.items() if name})


def count_rows(users: Sequence[str | None] | None, items: Sequence[str | None] | None, columns: Mapping[str, ColumnData] | None) -> int:
    """Return the number of rows that ids and columns have.

    Raises:
        UsageError: They differ, or nothing is given.
    """
    lengths = {len(part) for part in (users, items, *(columns or {}).values()) if part is not None}
    if len(lengths) != 1:
        raise UsageError(f"users, items and columns must have one length, got {sorted(lengths) or 'nothing'}")
    return lengths.pop()


def keys_of(state: ServingState, entity: Literal["user", "item"], ids: Sequence[str | None] | None, count: int) -> np.ndarray:
    """Return int64 [count], the keys of ids; 0 = unknown, or nothing that the bundle asks for."""
    if ids is None or not (state.schema.user if entity == "user" else state.schema.item):
        return np.zeros(count, dtype=np.int64)
    return state.keys_of(entity, [None if name is None else str(name) for name in ids])


def _retriever_block(catalogue: Catalogue, state: ServingState, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    distinct, place = np.unique(users, return_inverse=True)
    values = np.empty(len(users))
    step = max(1, (1 << 22) // max(1, int(state.schema.items)))
    for start in range(0, len(distinct), step):
        part = distinct[start : start + step]
        scores = catalogue([stored_request(state, int(row)) for row in part]).astype(np.float64)
        scores[:, 0] = scores[:, 1:].mean(1) if scores.shape[1] > 1 else 0.0
        inside = (place >= start) & (place < start + len(part))
        values[inside] = scores[place[inside] - start, items[inside]]
    return values


def _blind(scorer: Scorer, state: ServingState, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return bool [n]: rows of which the model knows nothing at all, neither user nor item nor context."""
    schema = state.schema
    if any(schema[name].depends == "row" for name in scorer.graph.inputs) or not (schema.user or schema.item):
        return np.zeros(len(users), dtype=bool)
    return np.asarray((users == 0) & (items == 0))


def _sane(values: np.ndarray, blind: np.ndarray, task: str, schema: FeatureSchema) -> np.ndarray:
    if task not in schema.label_range:
        real = values[np.isfinite(values)]
        return np.asarray(np.where(np.isfinite(values), values, real.mean() if len(real) else 0.0))
    low, high, mean = schema.label_range[task]
    return np.asarray(np.clip(np.where(blind | ~np.isfinite(values), mean, values), low, high))
