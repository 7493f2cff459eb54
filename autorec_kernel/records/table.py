"""`Table`: columns of numpy arrays, the shape in which data travels from the readers to the feature ops (no pandas)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from autorec_kernel.records.lists import offsets_of, take_lists

__all__ = [
    "MISSING_TIME",
    "Coded",
    "ColumnData",
    "Ragged",
    "Table",
    "column_length",
    "concat_columns",
    "read_only",
    "stretch",
    "take_column",
    "take_or_missing",
]

MISSING_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of strings stored once each.

    Args:
        codes: int32 [n], index into `values`; -1 = missing.
        values: object [m] of str, distinct, any order. Ids keep their exact text (leading zeros, 64-bit numbers).
    """

    codes: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def text(self) -> np.ndarray:
        """Return object [n]: the strings, None where missing."""
        padded = np.append(self.values, np.array([None], dtype=object))
        return np.asarray(padded[self.codes], dtype=object)

    def counts(self) -> np.ndarray:
        """Return int64 [m]: how many rows hold each of `values`."""
        return np.bincount(self.codes + 1, minlength=len(self.values) + 1)[1:]

    def compact(self) -> Coded:
        """Return the same rows without the values that no row holds (so that a part of a table does not tell what the rest holds)."""
        used = self.counts() > 0
        recode = np.append(np.cumsum(used) - 1, -1)
        return Coded(recode[self.codes].astype(np.int32), self.values[used])


@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of lists.

    Args:
        values: `Coded` (multi-valued categories) or float32 [total].
        offsets: int64 [n + 1]; row i owns values[offsets[i]:offsets[i + 1]].
    """

    values: Coded | np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1


# An array column is float64 [n] (numeric, NaN = missing), int64 [n] (time in ns since 1970 UTC, or position; MISSING_TIME = missing),
# or float32 [n, d] (vector, NaN = missing).
ColumnData = np.ndarray | Coded | Ragged


@dataclass(frozen=True, slots=True)
class Table(Mapping[str, ColumnData]):
    """Named columns of equal length."""

    columns: Mapping[str, ColumnData] = field(default_factory=dict)
    rows: int = 0

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if column_length(column) != self.rows:
                raise ValueError(f"column {name!r} has {column_length(column)} rows, the table has {self.rows}")

    def __getitem__(self, name: str) -> ColumnData:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, rows: np.ndarray) -> Table:
        """Return the rows int64 [m] in that order."""
        return Table({name: take_column(column, rows) for name, column in self.columns.items()}, len(rows))

    def compact(self) -> Table:
        """Return the same rows; columns of strings keep only the values that occur in them."""
        return Table({name: _compact_column(column) for name, column in self.columns.items()}, self.rows)

    def with_columns(self, more: Mapping[str, ColumnData]) -> Table:
        """Return a table with columns added or replaced."""
        return Table({**self.columns, **more}, self.rows)


def read_only(table: Table) -> Table:
    """Return the same columns as views that refuse to be written to: what is handed to a plugin's code."""
    return Table({name: _locked(column) for name, column in table.items()}, table.rows)


def _locked(column: ColumnData) -> ColumnData:
    if isinstance(column, Coded):
        return Coded(_view(column.codes), _view(column.values))
    if isinstance(column, Ragged):
        values = _locked(column.values)
        assert not isinstance(values, Ragged)
        return Ragged(values, _view(column.offsets))
    return _view(column)


def _view(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def column_length(column: ColumnData) -> int:
    """Return the number of rows."""
    return len(column)


def take_column(column: ColumnData, rows: np.ndarray) -> ColumnData:
    """Return the rows int64 [m] of a column, in that order."""
    if isinstance(column, Coded):
        return Coded(column.codes[rows], column.values)
    if isinstance(column, Ragged):
        return _take_ragged(column, rows)
    return np.asarray(column[rows])


def stretch(column: ColumnData, start: int, stop: int) -> ColumnData:
    """Return the rows start:stop of a column, without a copy of what is long; texts that are more than the rows are left out."""
    if isinstance(column, Coded):
        codes = column.codes[start:stop]
        if len(column.values) <= stop - start:
            return Coded(codes, column.values)
        used, inverse = np.unique(codes, return_inverse=True)
        lost = int(len(used) > 0 and used[0] < 0)
        return Coded((inverse - lost).astype(np.int32), column.values[used[lost:]])
    if isinstance(column, Ragged):
        first, last = int(column.offsets[start]), int(column.offsets[stop])
        values = stretch(column.values, first, last)
        assert not isinstance(values, Ragged)
        return Ragged(values, column.offsets[start : stop + 1] - first)
    return column[start:stop]


def take_or_missing(column: ColumnData, rows: np.ndarray) -> ColumnData:
    """Return the rows int64 [m] of a column, in that order; a row below 0 is missing."""
    lost = rows < 0
    if not lost.any():
        return take_column(column, rows)
    taken = take_column(column, np.where(lost, 0, rows))
    if isinstance(taken, Coded):
        return Coded(np.where(lost, -1, taken.codes).astype(np.int32), taken.values)
    if isinstance(taken, Ragged):
        lengths = np.where(lost, 0, np.diff(taken.offsets))
        kept = np.repeat(~lost, np.diff(taken.offsets))
        values = Coded(taken.values.codes[kept], taken.values.values) if isinstance(taken.values, Coded) else taken.values[kept]
        return Ragged(values, offsets_of(lengths))
    missing = MISSING_TIME if taken.dtype.kind == "i" else np.nan
    return np.where(lost if taken.ndim == 1 else lost[:, None], missing, taken).astype(taken.dtype)


def concat_columns(first: ColumnData, second: ColumnData) -> ColumnData:
    """Return `second` appended to `first`; both of one shape."""
    if isinstance(first, Coded) and isinstance(second, Coded):
        return _concat_coded(first, second)
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        values = concat_columns(first.values, second.values)
        assert not isinstance(values, Ragged)
        return Ragged(values, np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]))
    assert isinstance(first, np.ndarray) and isinstance(second, np.ndarray)
    return np.concatenate([first, second])


def _compact_column(column: ColumnData) -> ColumnData:
    if isinstance(column, Ragged):
        return Ragged(column.values.compact(), column.offsets) if isinstance(column.values, Coded) else column
    return column.compact() if isinstance(column, Coded) else column


def _concat_coded(first: Coded, second: Coded) -> Coded:
    index = {value: code for code, value in enumerate(first.values)}
    for value in second.values:
        index.setdefault(value, len(index))
    recode = np.array([index[value] for value in second.values] + [-1], dtype=np.int32)
    values = np.array(list(index), dtype=object)
    return Coded(np.concatenate([first.codes, recode[second.codes]]).astype(np.int32), values)


def _take_ragged(column: Ragged, rows: np.ndarray) -> Ragged:
    offsets, index = take_lists(column.offsets, np.asarray(rows))
    values = column.values
    taken = Coded(values.codes[index], values.values) if isinstance(values, Coded) else values[index]
    return Ragged(taken, offsets)
