"""One split of a feature set: its events in the kernel's terms, and the values that are kept for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autorec_kernel.features.compute import Fitted, Sides, event_columns, folded, is_stored
from autorec_kernel.features.entities import ITEM, ITEM_KEY, POSITIVE, TARGET, USER, USER_KEY
from autorec_kernel.features.evaluation import Events
from autorec_kernel.features.shelf import Shelf
from autorec_kernel.features.values import Places, values_of
from autorec_kernel.records.bags import Values
from autorec_kernel.records.dataset import CLOCK, ORDER
from autorec_kernel.records.table import ColumnData, Table, concat_columns, stretch

__all__ = ["Part", "joined", "kept_columns", "part_of", "with_parts"]

_OWN = (USER, ITEM, USER_KEY, ITEM_KEY, POSITIVE, TARGET, CLOCK, ORDER)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Events of a split in order of `@order`.

    Args:
        events: The kernel's columns (int64), and the columns that folding and on-demand programs read.
        labels: Label name → float32 [n], what each task learns, the primary one first; NaN where it is unknown.
        values: Feature name → int32 or float32 [n, …], bags ragged: row features and point-in-time features.
    """

    events: Table
    labels: Mapping[str, np.ndarray]
    values: Mapping[str, Values] = field(default_factory=dict)

    @property
    def label(self) -> np.ndarray:
        """Return float32 [n], the primary label: NaN on context rows without one only."""
        return next(iter(self.labels.values()))

    @property
    def rows(self) -> int:
        """Return the number of events, context rows included."""
        return self.events.rows

    def ints(self, name: str) -> np.ndarray:
        """Return one of the kernel's columns, int64 [n]."""
        return np.asarray(self.events[name])

    def ranking(self) -> Events:
        """Return what an evaluation set is made of."""
        return Events(*(self.ints(name) for name in (USER_KEY, ITEM_KEY, ITEM, POSITIVE, TARGET)))


def kept_columns(fitted: Iterable[Fitted], events: Table) -> set[str]:
    """Return the event columns that a part keeps: the kernel's, those of folding, and inputs of programs run when asked."""
    found = set(_OWN)
    for op in fitted:
        found |= op.program.columns()
        if any(not is_stored(feature) or feature.dynamic or feature.depends == "pair" for feature in op.features):
            found |= set(op.program.inputs)
    return found & set(events)


def part_of(
    events: Table,
    labels: Mapping[str, np.ndarray],
    fitted: Iterable[Fitted],
    sides: Sides,
    kept: set[str],
    *,
    cut: bool,
    shelf: Shelf | None = None,
    places: Places | None = None,
) -> Part:
    """Compute the values of a split.

    Args:
        events: Prepared events.
        labels: What `labels_of` returned.
        fitted: Ops whose tables hold every event that the split may see; each row reads strictly before itself.
        cut: Read the state at the end of the tables instead.
        shelf: Where values go; None = memory.
        places: Of these very events.
    """
    values: dict[str, Values] = {}
    for op in fitted:
        values |= _values(op, events, sides, cut, shelf, places)
        del op  # before the next one is made
    columns = {name: column for name, column in events.items() if name in kept}
    return Part(Table(columns, events.rows), labels, values)


def _values(op: Fitted, events: Table, sides: Sides, cut: bool, shelf: Shelf | None, places: Places | None) -> dict[str, Values]:
    wanted = [f for f in op.features if is_stored(f) and (f.dynamic or f.depends in ("row", "pair"))]
    read = {name: events[name] for name in {*op.program.inputs, USER_KEY, ITEM_KEY} if name in events}

    def block(start: int, stop: int) -> dict[str, ColumnData]:
        rows = {name: stretch(column, start, stop) for name, column in read.items()}
        return event_columns(op.program.inputs, Table(rows, stop - start), sides)

    return values_of(op, wanted, block, events.rows, latest=cut, shelf=shelf, places=places) if wanted else {}


def with_parts(fitted: Iterable[Fitted], parts: Iterable[Part], sides: Sides) -> Iterator[Fitted]:
    """Yield ops with the events of more parts in their tables, one at a time."""
    parts = [part for part in parts if part.rows]
    events = joined(parts) if parts else None
    for op in fitted:
        yield op if events is None else folded(op, events, sides)


def joined(parts: Sequence[Part]) -> Table:
    """Return the events of several parts, those that count (`fold` takes all of them), in order of `@order`."""
    columns: dict[str, ColumnData] = dict(parts[0].events)
    for part in parts[1:]:
        columns = {name: concat_columns(column, part.events[name]) for name, column in columns.items()}
    table = Table(columns, sum(part.rows for part in parts))
    return table.take(np.argsort(np.asarray(table[ORDER]), kind="stable")) if len(parts) > 1 else table
