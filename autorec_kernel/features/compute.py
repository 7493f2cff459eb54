"""Running fitted programs over entity tables and events, with a check of what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.features.entities import ITEM_KEY, USER_KEY, Entities
from autorec_kernel.records.bags import Bags, Values
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, take_column
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Fitted", "Sides", "compute", "entity_columns", "event_columns", "folded", "is_stored", "keep", "stored", "within"]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One fitted op of a feature set: its features and the program that makes them, in the same order."""

    features: tuple[Feature, ...]
    program: Program

    def output(self, name: str) -> str:
        """Return the program output of a feature."""
        return self.program.outputs[[feature.name for feature in self.features].index(name)]


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """The side tables, one row a key, and the vocabularies they follow: row 0, all missing, what training knows, then strangers.

    Args:
        users, items: Tables; without rows where there is none.
        user_ids, item_ids: What training knows.
        more_users, more_items: Strangers: entities that only a side table names. Stranger i has the key `size - 1 + i`.
        user, item, time: Names of the id columns and of the clock's, "" where there is none.
    """

    users: Table
    items: Table
    user_ids: Vocabulary
    item_ids: Vocabulary
    more_users: Vocabulary
    more_items: Vocabulary
    user: str = ""
    item: str = ""
    time: str = ""

    @classmethod
    def of(cls, entities: Entities, users: Table, items: Table, time: str) -> Sides:
        """Return the sides of entities and their aligned tables."""
        more_users = entities.more_users.first(max(users.rows - entities.users.size, 0))
        more_items = entities.more_items.first(max(items.rows - entities.items.size, 0))
        return cls(users, items, entities.users, entities.items, more_users, more_items, entities.user, entities.item, time)

    def of_training(self) -> dict[str, Table]:
        """Return the tables that ops are fitted on: one row an entity of training, from row 1 on."""
        named = ("users", self.users, self.user_ids), ("items", self.items, self.item_ids)
        return {name: table.take(np.arange(1, ids.size)) if table.rows else table for name, table, ids in named}


def compute(fitted: Fitted, columns: Mapping[str, ColumnData], context: ReadContext) -> dict[str, np.ndarray]:
    """Return the values of the op's features.

    Raises:
        ContractError: A value has the wrong shape, type or range.
    """
    found = run_program(fitted.program, columns, context)
    return {f.name: _checked(f, found[out], context) for f, out in zip(fitted.features, fitted.program.outputs, strict=True)}


def is_stored(feature: Feature) -> bool:
    """Whether the values of event rows are kept; histories are computed when asked."""
    return feature.kind != "history"


def stored(value: np.ndarray) -> np.ndarray:
    """Return a value as it is kept: int32 or float32."""
    return np.ascontiguousarray(value, dtype=np.int32 if value.dtype.kind == "i" else np.float32)


def keep(value: np.ndarray, feature: Feature) -> Values:
    """Return a value as the rows of a split or an entity keep it: a bag ragged, everything else as `stored`."""
    return Bags.of(value) if feature.kind == "bag" else stored(value)


def entity_columns(entity: str, names: Iterable[str], sides: Sides) -> tuple[dict[str, Any], int]:
    """Return the columns of every key of an entity, strangers included, those of `names` that exist, and how many keys there are."""
    vocabulary, table, key = (sides.user_ids, sides.users, sides.user) if entity == "user" else (sides.item_ids, sides.items, sides.item)
    keys = np.arange(max(table.rows, vocabulary.size), dtype=np.int64)
    rows = np.where(keys < vocabulary.size, keys, 0)
    found: dict[str, Any] = {f"@{entity}": rows, f"@{entity}_key": keys}
    if key in names:
        texts = np.array([*vocabulary.ids_of(np.arange(1, vocabulary.size)), None], dtype=object)[:-1]
        found[key] = Coded((rows - 1).astype(np.int32), texts)
    found |= {f"{entity}s.{name}": table[name] for name in table if f"{entity}s.{name}" in names}
    return found, len(keys)


def event_columns(names: Iterable[str], events: Table, sides: Sides) -> dict[str, ColumnData]:
    """Return the columns of events that a program reads; those of side tables follow the event's `@user_key` and `@item_key`."""
    found: dict[str, ColumnData] = {}
    for name in names:
        if name in events:
            found[name] = events[name]
        for prefix, table, key in (("users.", sides.users, USER_KEY), ("items.", sides.items, ITEM_KEY)):
            if name.startswith(prefix) and name.removeprefix(prefix) in table:
                found[name] = take_column(table[name.removeprefix(prefix)], within(np.asarray(events[key]), table.rows))
    return found


def folded(op: Fitted, events: Table, sides: Sides) -> Fitted:
    """Return the op with more events in its as-of tables."""
    return replace(op, program=op.program.fold(event_columns(op.program.columns(), events, sides))) if op.program.tables else op


def within(keys: np.ndarray, rows: int) -> np.ndarray:
    """Return the keys int64 [n] of entities that have a row, 0 for the others."""
    return np.where(keys < rows, keys, 0)


def _checked(feature: Feature, value: np.ndarray | Ragged, context: ReadContext) -> np.ndarray:
    where = f"feature {feature.name!r}"
    if isinstance(value, Ragged) or len(value) != context.rows:
        raise ContractError(f"its program gave {'a ragged value' if isinstance(value, Ragged) else f'{len(value)} rows'}", where=where)
    shape = {"id": (), "numeric": (feature.width,)}.get(feature.kind)
    if value.ndim != (1 if feature.kind == "id" else 2) or (shape and value.shape[1:] != shape):
        raise ContractError(f"its program gave shape {value.shape}; expected {feature.kind} of width {feature.width}", where=where)
    if (value.dtype.kind == "f") != (feature.kind == "numeric"):
        raise ContractError(f"its program gave {value.dtype} for kind {feature.kind!r}", where=where)
    if feature.kind != "numeric" and value.size and (value.min() < 0 or value.max() >= feature.size):
        raise ContractError(f"its program gave rows outside [0, {feature.size})", where=where)
    return value
