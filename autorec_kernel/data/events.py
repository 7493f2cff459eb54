"""`Events`: the rows that take part, with user, item, clock and order as plain arrays, ready to be split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.data.labels import check_further_label, check_label
from autorec_kernel.data.understand import Understood
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import MISSING_TIME, Clock, Task
from autorec_kernel.records.table import Coded, Table

__all__ = ["KNOWN", "MINIMUM_ROWS", "Events", "select_events"]

KNOWN = 0.99  # a clock must be known for this share of the rows
MINIMUM_ROWS = 10


@dataclass(frozen=True, slots=True)
class Events:
    """The rows that take part.

    Args:
        table: Typed event columns, in file order.
        rows: int64 [n], row numbers in the source (0 = first data row).
        clock: int64 [n]: time in ns, position, or 0; MISSING_TIME where unknown.
        order: int64 [n]: rank by (clock, position, row), rows without a clock first.
        names: role -> column.
        dropped: Reason -> how many rows left.
    """

    table: Table
    rows: np.ndarray
    clock: np.ndarray
    order: np.ndarray
    kind: Clock
    names: dict[str, str]
    dropped: dict[str, int]

    def ids(self, role: str) -> Coded | None:
        """Return the id column with this role."""
        column = self.table.columns.get(self.names.get(role, ""))
        return column if isinstance(column, Coded) else None

    def array(self, role: str) -> np.ndarray | None:
        """Return the array column with this role."""
        column = self.table.columns.get(self.names.get(role, ""))
        return column if isinstance(column, np.ndarray) else None


def select_events(events: Understood, task: Task, threshold: float | None, where: str) -> Events:
    """Drop the rows that cannot take part, count them by reason, and order the rest in time.

    Raises:
        DataError: A column the task needs is missing, or fewer rows, users or items are left than the minimum.
    """
    used = [column for column in events.columns if column.role not in ("feature", "ignore")]
    names: dict[str, str] = {column.role: column.name for column in reversed(used)}  # of several labels the first, the primary one
    table = events.table
    keep, dropped = _kept(table, names, task, threshold)
    if "label" in names:
        label = table[names["label"]]
        assert isinstance(label, np.ndarray)
        check_label(names["label"], label[keep], task, where)
    for column in used:
        if column.role == "label" and column.name != names["label"]:
            check_further_label(column.name, np.asarray(table[column.name])[keep], where)
    _check_sizes(table, names, keep, dropped, task, where)
    rows = np.flatnonzero(keep)
    table = table.take(rows)
    kind, clock, second = _clock(table, names)
    order = np.empty(len(rows), dtype=np.int64)
    order[np.lexsort((rows, second, clock))] = np.arange(len(rows))
    return Events(table, rows.astype(np.int64), clock, order, kind, names, dropped)


def _kept(table: Table, names: dict[str, str], task: Task, threshold: float | None) -> tuple[np.ndarray, dict[str, int]]:
    keep = np.ones(table.rows, dtype=bool)
    dropped: dict[str, int] = {}

    def drop(bad: np.ndarray, reason: str) -> None:
        count = int((bad & keep).sum())
        if count:
            dropped[reason] = count
        np.logical_and(keep, ~bad, out=keep)

    for role in ("user", "item"):
        column = table.columns.get(names.get(role, ""))
        if isinstance(column, Coded):
            drop(column.codes < 0, f"missing {role} id")
    label = table.columns.get(names.get("label", ""))
    if isinstance(label, np.ndarray) and task != "recommend":
        drop(np.isnan(label), "missing label")
    if isinstance(label, np.ndarray) and task == "recommend" and threshold is not None:
        drop(~(label >= threshold), f"label below the positive threshold {threshold:g}")
    return keep, dropped


def _check_sizes(table: Table, names: dict[str, str], keep: np.ndarray, dropped: dict[str, int], task: Task, where: str) -> None:
    left = int(keep.sum())
    if table.rows == 0:
        told = f"the table has no rows, at least {MINIMUM_ROWS} are needed"
        raise DataError(told, where=where, hint="expected a header and one row an event")
    if left < MINIMUM_ROWS:
        gone = f" after dropping {', '.join(f'{count:,} ({reason})' for reason, count in dropped.items())}" if dropped else ""
        raise DataError(f"too few rows: {left}{gone}, at least {MINIMUM_ROWS} are needed", where=where, hint="give more events")
    for role in ("user", "item") if task == "recommend" else ():
        column = table[names[role]]
        assert isinstance(column, Coded)
        if np.count_nonzero(np.bincount(column.codes[keep])) < 2:
            told = f"only one {role} in column {names[role]!r}, at least 2 are needed"
            raise DataError(told, where=where, hint=f"name another column: --role COLUMN={role}")


def _clock(table: Table, names: dict[str, str]) -> tuple[Clock, np.ndarray, np.ndarray]:
    """Return the kind of clock, its values, and the positions that break ties."""
    time, position = table.columns.get(names.get("time", "")), table.columns.get(names.get("position", ""))
    nothing = np.zeros(table.rows, dtype=np.int64)
    second = position if isinstance(position, np.ndarray) else nothing
    if isinstance(time, np.ndarray) and (time != MISSING_TIME).mean() >= KNOWN:
        return "time", time, second
    if isinstance(position, np.ndarray) and (position != MISSING_TIME).mean() >= KNOWN and "user" in names:
        return "position", position, nothing
    return "none", nothing, nothing
