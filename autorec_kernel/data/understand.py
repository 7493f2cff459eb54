"""Raw columns to typed columns with roles, kinds and reasons: the event table, and the user and item tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from autorec_kernel.data.kinds import convert, infer_kind, to_numbers
from autorec_kernel.data.labels import read_further_label, read_label
from autorec_kernel.data.numbers import matches, trimmed
from autorec_kernel.data.profile import Profile, as_coded, profile
from autorec_kernel.data.remarks import counted_answers, unread_times
from autorec_kernel.data.roles import Said, infer_roles
from autorec_kernel.data.source import Raw
from autorec_kernel.data.times import parse_times
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.records.dataset import MISSING_TIME, Task
from autorec_kernel.records.schema import Column, Kind, Source
from autorec_kernel.records.table import Coded, ColumnData, Table

__all__ = ["Understood", "feature", "ids", "refused_columns", "understand_events"]

_ROLE_KINDS: dict[str, Kind] = {"user": "id", "item": "id", "session": "id", "label": "numeric", "time": "time", "position": "numeric"}


@dataclass(frozen=True, slots=True)
class Understood:
    """One table with its columns explained; `table` lacks the ignored columns."""

    columns: tuple[Column, ...]
    table: Table
    notes: tuple[str, ...] = ()

    def name(self, role: str) -> str | None:
        """Return the column with this role, or None."""
        return next((column.name for column in self.columns if column.role == role), None)


def understand_events(
    raw: Raw, *, roles: Mapping[str, str], kinds: Mapping[str, str], task: Task, threshold: float | None = None
) -> Understood:
    """Explain and convert the event table.

    Raises:
        DataError: A column cannot be what the user said, or the label does not fit the task.
    """
    facts = {name: profile(column) for name, column in raw.columns.items()}
    said = infer_roles(raw.columns, facts, roles, task)
    labels = [name for name, role in roles.items() if role == "label"]  # in the order in which they were named
    _check_kinds(said, kinds, labels[1:])
    columns: list[Column] = []
    typed: dict[str, ColumnData] = {}
    notes: list[str] = []
    for name, column in raw.columns.items():
        role = said[name].role
        if role in ("feature", "ignore"):
            described, values = feature(name, column, facts[name], said[name], kinds.get(name), "events", raw.name)
        elif name in labels[1:]:
            described, values, more = _further_label(_described(name, said[name], facts[name]), column, kinds.get(name), raw.name)
            notes += more
        else:
            described = _described(name, said[name], facts[name])
            values, more = _role_column(name, role, column, task, threshold, raw.name)
            notes += more
        columns.append(described)
        if values is not None:
            typed[name] = values
    judged = [column for column in columns if column.name not in labels[1:]]
    notes += [*unread_times(columns, facts), *counted_answers(judged, facts, task, threshold)]
    return Understood((*_in_order(columns, labels), *refused_columns(raw, "events")), Table(typed, raw.rows), tuple(notes))


def feature(
    name: str, column: ColumnData, facts: Profile, said: Said, kind: str | None, source: Source, where: str
) -> tuple[Column, ColumnData | None]:
    """Explain and convert one feature column; None instead of values when it is set aside."""
    verdict = infer_kind(name, column, facts)
    forced = said.reason == "you said so"
    use = said.role != "ignore" and (verdict.use or forced or kind is not None)
    reason = " (".join(part for part in (said.reason, verdict.reason) if part) + (")" if said.reason and verdict.reason else "")
    chosen = cast(Kind, kind) if kind is not None else verdict.kind
    described = Column(name, "feature" if use else "ignore", chosen, source, reason, facts.missing_share, facts.distinct)
    if kind is not None:
        described = replace(described, reason="you said so")
    return described, convert(name, column, chosen, where) if use else None


def ids(column: ColumnData, name: str, where: str) -> Coded:
    """Return an id column as text; blank ids are missing.

    Raises:
        DataError: The column holds lists.
    """
    if not isinstance(column, Coded) and (not isinstance(column, np.ndarray) or column.ndim != 1):
        raise DataError(f"column {name!r} holds lists, which are no ids", where=where, hint="name another column: --role COLUMN=user")
    coded = as_coded(column).compact()
    if len(coded.values) == 0:
        return coded
    blank = matches(trimmed(coded.values), r"^$")
    if not blank.any():
        return coded
    codes = np.where(np.append(blank, False)[coded.codes], -1, coded.codes)
    return Coded(codes.astype(np.int32), coded.values).compact()


def refused_columns(raw: Raw, source: Source) -> tuple[Column, ...]:
    """Return rows of the schema for columns that could not be read."""
    return tuple(Column(name, "ignore", "categorical", source, reason) for name, reason in raw.refused.items())


def _check_kinds(said: Mapping[str, Said], kinds: Mapping[str, str], further: Sequence[str]) -> None:
    for name in kinds:
        role = said[name].role
        fixed = _ROLE_KINDS.get(role)
        if name in further and kinds[name] not in ("categorical", "numeric"):
            told = f"column {name!r} is a further label, whose kind is 'categorical' (0 and 1) or 'numeric'"
            raise UsageError(told, hint=f"--kind {name}=categorical, or --kind {name}=numeric")
        if name not in further and fixed is not None and kinds[name] != fixed:
            told = f"column {name!r} is the {role}, whose kind is always {fixed!r}"
            raise UsageError(told, hint=f"give it another role: --role {name}=feature")


def _further_label(described: Column, column: ColumnData, kind: str | None, where: str) -> tuple[Column, ColumnData, list[str]]:
    """Explain and convert a label beside the primary one: a task of its own, whose values say what it predicts."""
    values, found, notes = read_further_label(described.name, column, cast("Kind | None", kind), where)
    holds = "0 and 1" if found == "categorical" else "numbers"
    return replace(described, kind=found, reason=f"{described.reason} (a further task: {holds})"), values, notes


def _in_order(columns: Sequence[Column], labels: Sequence[str]) -> list[Column]:
    """Return the columns with the labels among themselves in the order in which they were named: the first is the primary one."""
    if len(labels) < 2:
        return list(columns)
    ordered = iter([next(column for column in columns if column.name == name) for name in labels])
    return [next(ordered) if column.role == "label" else column for column in columns]


def _described(name: str, said: Said, facts: Profile) -> Column:
    return Column(name, said.role, _ROLE_KINDS.get(said.role, "categorical"), "events", said.reason, facts.missing_share, facts.distinct)


def _role_column(name: str, role: str, column: ColumnData, task: Task, threshold: float | None, where: str) -> tuple[ColumnData, list[str]]:
    if role in ("user", "item", "session"):
        return ids(column, name, where), []
    if role == "label":
        return read_label(name, column, task, threshold, where)
    if role == "time":
        return _times(name, column, where)
    if role == "position":
        return _positions(name, column, where), []
    return as_coded(column).compact(), []


def _times(name: str, column: ColumnData, where: str) -> tuple[np.ndarray, list[str]]:
    found = parse_times(column)
    if found is None:
        raise DataError(f"column {name!r} holds no times", where=where, hint=f"convert it to ISO 8601, or --role {name}=feature")
    if found.bad > 0.01 * len(found.ns):
        told = f"column {name!r}: {found.bad:,} rows hold no time (first: data row {found.bad_row}) while the others are {found.form}"
        raise DataError(told, where=where, hint="correct the rows, or leave them empty")
    bad = [f"{name}: {found.bad} rows hold no time (first: data row {found.bad_row}); read as missing"] if found.bad else []
    return found.ns, bad


def _positions(name: str, column: ColumnData, where: str) -> np.ndarray:
    numbers = to_numbers(name, column, where)
    good = np.isfinite(numbers) & (np.abs(numbers) < 2**53)
    return np.where(good, np.where(good, numbers, 0).astype(np.int64), MISSING_TIME)
