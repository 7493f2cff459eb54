"""Columns as keys of aggregates: how the steps of a program turn a user, an item, a category, a list or a number into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from autorec_features.counts import keys_of
from autorec_features.identity import sorted_vocabulary
from autorec_features.years import YEAR, year_steps, years_in
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import Depends
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, take_or_missing

__all__ = ["BINS", "WHOLE", "Keys", "crossed", "depends_on", "keys_for", "training_columns"]

_WIDTH = 8  # values of a list that count
_LARGEST = 1 << 19  # rows of a table of pairs; larger spaces are hashed into as many
BINS = 5  # that a number is cut into
WHOLE = ":whole"  # behind the name of a column of lists: all values of a list together are one key
_MARKS = 1 << 44  # a list is known by the sum of its values' marks, which float64 holds exactly


@dataclass(frozen=True, slots=True)
class Keys:
    """How a program makes the rows of an aggregate.

    Args:
        steps: In order; the last output is `name`.
        name: Value with the rows, int64 [n], or [n, W] for lists.
        size: Rows, row 0 = unknown included.
        inputs: Columns that the steps read.
        arrays: Vocabularies and edges of the steps.
        several: Whether a row has several keys.
    """

    steps: tuple[Step, ...]
    name: str
    size: int
    inputs: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    several: bool = False


def training_columns(names: Sequence[str], events: Table, tables: Mapping[str, Table]) -> dict[str, ColumnData]:
    """Return columns of the training events by the names that programs read; those of side tables follow the event.

    Raises:
        RejectColumn: One is not there.
    """
    found: dict[str, ColumnData] = {}
    for name in names:
        source, _, column = name.partition(".")
        if name in events:
            found[name] = events[name]
        elif source in tables and column in tables[source]:
            rows = np.asarray(events["@user" if source == "users" else "@item"]) - 1
            found[name] = take_or_missing(tables[source][column], rows)
        else:
            raise RejectColumn(f"there is no column {name!r}")
    return found


def depends_on(names: Sequence[str]) -> Depends:
    """Return what a value that reads these columns is a function of."""
    sides: dict[str, Depends] = {"@user": "user", "users": "user", "@item": "item", "items": "item"}
    kinds = {sides.get(name.partition(".")[0], "row") for name in names}
    if "item" in kinds:
        return "pair" if len(kinds) > 1 else "item"
    return "row" if "row" in kinds else "user"


def keys_for(names: Sequence[str], events: Table, tables: Mapping[str, Table], min_count: int = 1) -> Keys:
    """Return the keys of one column, or of the combinations of several; only the last may hold lists.

    Raises:
        RejectColumn: A column is not there, or has fewer than two categories.
    """
    return reduce(crossed, (_single(name, events, tables, min_count) for name in names))


def crossed(first: Keys, second: Keys) -> Keys:
    """Return the keys of the combinations of two."""
    space = (first.size - 1) * (second.size - 1) + 1
    hashed = {} if space <= _LARGEST else {"buckets": _LARGEST - 1}
    pair = Step("cross", (first.name, second.name), f".{first.name}+{second.name}", {"size": second.size, **hashed})
    steps = (*first.steps, *second.steps, pair)
    return Keys(
        steps, pair.output, min(space, _LARGEST), (*first.inputs, *second.inputs), {**first.arrays, **second.arrays}, second.several
    )


def _single(name: str, events: Table, tables: Mapping[str, Table], min_count: int) -> Keys:
    if name in ("@user", "@item"):
        return Keys((), f"{name}_key", keys_of(events, name[1:]), (f"{name}_key",), {})
    if name.endswith(YEAR):
        return _of_year(name.removesuffix(YEAR), events, tables)
    if name.endswith(WHOLE):
        return _of_whole(name.removesuffix(WHOLE), events, tables, min_count)
    column = _own_column(name, events, tables)
    rows = f".{name} row"
    if isinstance(column, np.ndarray):
        edges = _edges(column, name)
        step = Step("bucketize", (name,), rows, {"edges": f"{name} edges"})
        return Keys((step,), rows, len(edges) + 2, (name,), {f"{name} edges": edges})
    vocabulary = sorted_vocabulary(column, min_count)
    if vocabulary.size < 3:
        raise RejectColumn(f"{name!r} has {vocabulary.size - 1} categories that occur {min_count} times or more")
    ids = f"{name} ids"
    params: dict[str, object] = {"vocabulary": ids}
    if isinstance(column, Ragged):
        params["width"] = int(np.clip(np.diff(column.offsets).max(initial=1), 1, _WIDTH))
    step = Step("bag" if isinstance(column, Ragged) else "lookup", (name,), rows, params)
    return Keys(
        (step,),
        rows,
        vocabulary.size,
        (name,),
        {f"{ids}.{part}": array for part, array in vocabulary.arrays().items()},
        isinstance(column, Ragged),
    )


def _of_year(name: str, events: Table, tables: Mapping[str, Table]) -> Keys:
    edges = _edges(years_in(_own_column(name, events, tables), name), f"{name}{YEAR}")
    steps, year, arrays = year_steps(name)
    cut = Step("bucketize", (year,), f".{name} band", {"edges": f"{name} edges"})
    return Keys((*steps, cut), cut.output, len(edges) + 2, (name,), {**arrays, f"{name} edges": edges})


def _of_whole(name: str, events: Table, tables: Mapping[str, Table], min_count: int) -> Keys:
    """Return the keys of sets of values: the sum of a mark of each value, looked up among the sums that lists have."""
    column = _own_column(name, events, tables)
    if not isinstance(column, Ragged):
        raise RejectColumn(f"{name!r} holds no lists")
    values = _single(name, events, tables, min_count)
    marks = np.arange(values.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)  # 2^64 / golden ratio
    arrays = {f"{name} marks": (marks % np.uint64(_MARKS)).astype(np.float64), f"{name} ones": np.minimum(np.arange(values.size), 1.0)}
    steps = (
        *values.steps,
        Step("gather", (values.name,), f".{name} each", {"table": f"{name} marks"}),
        Step("gather", (values.name,), f".{name} one", {"table": f"{name} ones"}),
        Step("dot", (f".{name} each", f".{name} one"), f".{name} sum"),
    )
    sums = Program((name,), steps, (), {**values.arrays, **arrays}).computed([f".{name} sum"], {name: column})[f".{name} sum"]
    known = np.unique(np.asarray(sums).astype(np.int64))
    found = f"{name} sums"
    match = Step("match", (f".{name} sum",), f".{name} whole", {"values": found})
    return Keys((*steps, match), match.output, len(known) + 1, values.inputs, {**values.arrays, **arrays, found: known[known > 0]})


def _own_column(name: str, events: Table, tables: Mapping[str, Table]) -> ColumnData:
    """Return a column as its own table holds it: of a side table, one value an entity."""
    source, _, column = name.partition(".")
    found = events.get(name, tables.get(source, Table({}, 0)).get(column))
    if found is None:
        raise RejectColumn(f"there is no column {name!r}")
    if isinstance(found, Ragged) and not isinstance(found.values, Coded):
        raise RejectColumn(f"{name!r} holds lists of numbers")
    if isinstance(found, np.ndarray) and found.ndim != 1:
        raise RejectColumn(f"{name!r} holds vectors")
    return found


def _edges(column: np.ndarray, name: str) -> np.ndarray:
    """Return the quantiles that cut a number into bins.

    Raises:
        RejectColumn: It has fewer than two different values.
    """
    known = column[column != MISSING_TIME] if column.dtype.kind == "i" else column[np.isfinite(column)]
    if not len(known) or known.min() == known.max():
        raise RejectColumn(f"{name!r} is constant")
    edges: np.ndarray = np.unique(np.quantile(known.astype(np.float64), np.arange(1, BINS) / BINS))
    above: np.ndarray = edges[edges > known.min()]
    return above
