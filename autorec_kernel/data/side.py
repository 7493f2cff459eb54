"""User and item tables: one row an entity, keyed by the id column that the events use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autorec_kernel.data.names import ROLE_NAMES, normal
from autorec_kernel.data.profile import profile
from autorec_kernel.data.roles import Said
from autorec_kernel.data.source import Raw
from autorec_kernel.data.understand import Understood, feature, ids, refused_columns
from autorec_kernel.errors import DataError
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.schema import Column, Role, Source
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table

__all__ = ["understand_side"]

_ROLES: dict[Source, Role] = {"users": "user", "items": "item"}


def understand_side(
    raw: Raw, source: Source, events: Coded, event_name: str, *, roles: Mapping[str, str], kinds: Mapping[str, str]
) -> Understood:
    """Explain and convert a side table.

    Rows without an id are dropped. A table with two columns whose ids repeat (one row a pair) becomes one row an id with a multi-valued
    column; in other tables the first row of an id stays.

    Args:
        events: The id column of the events, to find the key and to check that the two meet.
        event_name: Its name.

    Raises:
        DataError: No id column is found, or no id of the table occurs in the events.
    """
    role = _ROLES[source]
    key, reason = _key(raw, role, events, event_name, roles)
    coded = ids(raw.columns[key], key, raw.name)
    _check_overlap(raw, source, key, coded, events)
    rest = {name: column for name, column in raw.columns.items() if name != key}
    rows, notes = _first_rows(source, coded)
    if len(rows) < (coded.codes >= 0).sum() and len(rest) == 1:
        return _long(raw, source, key, reason, coded, rest)
    columns: list[Column] = []
    typed: dict[str, ColumnData] = {}
    for name, column in raw.columns.items():
        if name == key:
            missing = float((coded.codes < 0).sum()) / max(raw.rows, 1)
            columns.append(Column(name, role, "id", source, reason, missing, len(coded.values)))
            typed[name] = coded
            continue
        said = Said("ignore" if roles.get(name) == "ignore" else "feature", "you said so" if name in roles else "")
        described, values = feature(name, column, profile(column), said, kinds.get(name), source, raw.name)
        columns.append(described)
        if values is not None:
            typed[name] = values
    table = Table(typed, raw.rows).take(rows).compact()
    return Understood((*columns, *refused_columns(raw, source)), table, tuple(notes))


def _key(raw: Raw, role: str, events: Coded, event_name: str, roles: Mapping[str, str]) -> tuple[str, str]:
    if not raw.columns:
        raise DataError("the table has no columns", where=raw.name, hint=f"expected a column of {role} ids")
    said = [name for name, value in roles.items() if value == role]
    if said:
        return said[0], "you said so"
    if event_name in raw.columns:
        return event_name, "the name is that of the events"
    named = [name for name in raw.columns if normal(name) == normal(event_name)]
    named += [name for name in raw.columns if normal(name) in ROLE_NAMES[role]]
    if named:
        return named[0], f"the name is a usual one for {role}s"
    shares = {name: _overlap(column, events) for name, column in raw.columns.items()}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= 0.5:
        return best, f"{shares[best]:.0%} of its values are {role} ids of the events"
    told = f"no column holds {role} ids; found {', '.join(list(raw.columns)[:12])}"
    raise DataError(told, where=raw.name, hint=f"name it: --role {role}s.COLUMN={role}")


def _overlap(column: ColumnData, events: Coded) -> float:
    found = profile(column).column
    return len(set(found.values) & set(events.values)) / len(found.values) if found is not None and len(found.values) else 0.0


def _check_overlap(raw: Raw, source: Source, key: str, coded: Coded, events: Coded) -> None:
    if set(coded.values) & set(events.values) or len(coded.values) == 0:
        return
    told = f"no id of column {key!r} occurs in the events (here: {_few(coded)}; in the events: {_few(events)})"
    hint = f"write the ids alike in both tables, or name the id column: --role {source}.COLUMN={_ROLES[source]}"
    raise DataError(told, where=raw.name, hint=hint)


def _few(coded: Coded) -> str:
    return ", ".join(repr(str(value)[:20]) for value in coded.values[:3])


def _first_rows(source: Source, coded: Coded) -> tuple[np.ndarray, list[str]]:
    known = np.flatnonzero(coded.codes >= 0)
    rows = np.sort(known[np.unique(coded.codes[known], return_index=True)[1]])
    notes = [f"{source} table: {len(coded) - len(known):,} rows without an id dropped"] if len(known) < len(coded) else []
    if len(rows) < len(known):
        notes.append(f"{source} table: {len(known) - len(rows):,} rows repeat an id; the first row of each stays")
    return rows, notes


def _long(raw: Raw, source: Source, key: str, reason: str, coded: Coded, rest: Mapping[str, ColumnData]) -> Understood:
    """Gather a table of (id, value) pairs into one row an id."""
    (name, column), role = next(iter(rest.items())), _ROLES[source]
    facts = profile(column)
    values = ids(column, name, raw.name)
    pairs = np.flatnonzero((coded.codes >= 0) & (values.codes >= 0))
    order = pairs[np.argsort(coded.codes[pairs], kind="stable")]
    sizes = np.bincount(coded.codes[order], minlength=len(coded.values))
    gathered = Ragged(Coded(values.codes[order], values.values), offsets_of(sizes))
    told = f"one row a pair: gathered into a list for each {role}"
    columns = (
        Column(key, role, "id", source, reason, 0.0, len(coded.values)),
        Column(name, "feature", "multi", source, told, facts.missing_share, facts.distinct),
    )
    one_each = Coded(np.arange(len(coded.values), dtype=np.int32), coded.values)
    note = f"{source} table: {raw.rows:,} pairs gathered into {len(coded.values):,} rows"
    return Understood(columns, Table({key: one_each, name: gathered}, len(coded.values)), (note,))
