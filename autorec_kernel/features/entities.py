"""The two entity spaces (users, items) and the events in their terms: the kernel's own columns `@user`, `@item`, `@positive`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import ORDER, TARGET, Protocol
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Coded, ColumnData, Table, take_or_missing
from autorec_kernel.records.vocabulary import Vocabulary, as_text

__all__ = [
    "ITEM",
    "ITEM_KEY",
    "POSITIVE",
    "TARGET",
    "USER",
    "USER_KEY",
    "Entities",
    "aligned",
    "entities_of",
    "label_of",
    "labelled",
    "prepare",
    "texts",
]

USER, ITEM, POSITIVE = "@user", "@item", "@positive"
USER_KEY, ITEM_KEY = "@user_key", "@item_key"  # as @user and @item, but ids unknown to training keep numbers of their own


@dataclass(frozen=True, slots=True)
class Entities:
    """Ids of the training part, sorted by text, and further ids that only side tables, validation or test rows name.

    Args:
        users, items: The catalogue of training; row 0 = unknown.
        more_users, more_items: Other ids, those of side tables first; id i of them has the key `size - 1 + i`.
        user, item: Names of the id columns, "" where there is none.
    """

    users: Vocabulary
    items: Vocabulary
    more_users: Vocabulary
    more_items: Vocabulary
    user: str = ""
    item: str = ""

    def with_events(self, table: Table) -> Entities:
        """Return the entities with the ids of more events."""
        users = _extended(self.users, self.more_users, table, self.user)
        return replace(self, more_users=users, more_items=_extended(self.items, self.more_items, table, self.item))

    def user_ids(self, keys: np.ndarray) -> list[str]:
        """Return the id texts of user keys."""
        known = self.users.ids_of(keys)
        more = self.more_users.ids_of(np.maximum(keys - self.users.size + 1, 0))
        return [first or second for first, second in zip(known, more, strict=True)]


def entities_of(schema: Schema, train: Table, users: Table, items: Table) -> Entities:
    """Return the entity spaces of the training events; further ids begin with those that only a side table names."""
    user, item = (column.name if column else "" for column in (schema.role("user"), schema.role("item")))
    known = Vocabulary.of(_present(train, user)), Vocabulary.of(_present(train, item))
    none = Vocabulary.of(())
    more_users = _extended(known[0], none, users, user if user in users else "")
    more_items = _extended(known[1], none, items, item if item in items else "")
    return Entities(*known, more_users, more_items, user, item)


def prepare(table: Table, entities: Entities, schema: Schema, protocol: Protocol, task: str) -> Table:
    """Return the events in order of `@order`, with the kernel's columns; for `rate` and `click`, rows without a label are dropped.

    Added (int64): `@user`, `@item` rows, `@user_key`, `@item_key`, `@positive` 0/1, `@target` 0/1.
    """
    table = labelled(table, schema, task)
    order = np.asarray(table[ORDER])
    table = table if (order[1:] >= order[:-1]).all() else table.take(np.argsort(order, kind="stable"))
    label = label_of(table, schema)
    users = _keys(table, entities.user, entities.users, entities.more_users)
    items = _keys(table, entities.item, entities.items, entities.more_items)
    added: dict[str, ColumnData] = {
        USER: _of_training(users, entities.users.size),
        ITEM: _of_training(items, entities.items.size),
        USER_KEY: users,
        ITEM_KEY: items,
        POSITIVE: _positive(label, protocol, task, table.rows),
        TARGET: np.asarray(table.get(TARGET, np.ones(table.rows)), dtype=np.int64),
    }
    return table.with_columns(added)


def labelled(table: Table, schema: Schema, task: str) -> Table:
    """Return the rows that can be learnt from or judged: `rate` and `click` need a label, context rows do not."""
    label = label_of(table, schema)
    if task == "recommend" or label is None or not np.isnan(label).any():
        return table
    context = np.asarray(table.get(TARGET, np.ones(table.rows))) == 0
    return table.take(np.flatnonzero(~np.isnan(label) | context))


def label_of(table: Table, schema: Schema) -> np.ndarray | None:
    """Return the label float64 [n], NaN = missing; None when the data has none."""
    column = schema.role("label")
    if column is None:
        return None
    values = table[column.name]
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise DataError(f"label column {column.name!r} holds {column.kind} values; numbers are needed", hint="name another label column")
    return np.asarray(values, dtype=np.float64)


def aligned(table: Table, key: str, known: Vocabulary, more: Vocabulary) -> Table:
    """Return an entity table with one row a key: row 0, all missing, the entities that training knows, then `more`."""
    if not table.rows or key not in table:
        return Table({}, 0)
    rows = np.full(known.size + more.size - 1, -1, dtype=np.int64)
    rows[_keys(table, key, known, more)[::-1]] = np.arange(table.rows)[::-1]  # the first row of an id counts
    rows[0] = -1
    return Table({name: take_or_missing(column, rows) for name, column in table.items()}, len(rows))


def texts(column: ColumnData) -> Coded:
    """Return an id column as texts."""
    return column if isinstance(column, Coded) else as_text(column)


def _present(table: Table, name: str) -> list[str]:
    if not name:
        return []
    column = texts(table[name])
    used = np.unique(column.codes)
    return sorted(str(text) for text in column.values[used[used >= 0]])


def _extended(known: Vocabulary, more: Vocabulary, table: Table, name: str) -> Vocabulary:
    new = [text for text, row in _rows_by_text(known, _present(table, name)) if not row]
    have = more.ids_of(np.arange(1, more.size))
    return Vocabulary.of([*have, *sorted(set(new) - set(have))])


def _rows_by_text(vocabulary: Vocabulary, ids: Iterable[str]) -> list[tuple[str, int]]:
    ids = list(ids)
    return list(zip(ids, vocabulary.row_of(ids).tolist(), strict=True))


def _keys(table: Table, name: str, known: Vocabulary, more: Vocabulary) -> np.ndarray:
    if not name:
        return np.zeros(table.rows, np.int64)
    column = texts(table[name])
    rows, further = known.rows_of_column(column), more.rows_of_column(column)
    return np.where((rows == 0) & (further > 0), known.size - 1 + further, rows)


def _of_training(keys: np.ndarray, rows: int) -> np.ndarray:
    """Return the keys with 0 in place of those beyond `rows`; the same array where there is none."""
    return np.where(keys < rows, keys, 0) if keys.max(initial=0) >= rows else keys


def _positive(label: np.ndarray | None, protocol: Protocol, task: str, rows: int) -> np.ndarray:
    """Return int64 0/1: a click (the data room gives 0 and 1), else a label at or above the threshold, else every row."""
    if label is not None and task == "click":
        return (label > 0).astype(np.int64)
    if label is None or protocol.positive_threshold is None:
        return np.ones(rows, np.int64)
    return (label >= protocol.positive_threshold).astype(np.int64)
