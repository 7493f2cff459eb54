"""`Profile`: the distinct values of one raw column with their counts, on which all inference works."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.data.numbers import whole_text
from autorec_kernel.records.table import Coded, ColumnData, Ragged

__all__ = ["Profile", "as_coded", "profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Facts about one column.

    Args:
        rows, missing: Row counts.
        column: The column as text (`Coded`, only values that occur); None for lists and vectors.
        counts: int64 [m], rows of each value of `column`.
    """

    rows: int
    missing: int
    column: Coded | None
    counts: np.ndarray

    @property
    def distinct(self) -> int:
        """Return how many different values there are."""
        return len(self.counts)

    @property
    def missing_share(self) -> float:
        """Return the share of missing values, 0..1."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def all_different(self) -> bool:
        """Return whether no value repeats (in a column long enough to tell)."""
        return self.rows - self.missing > 20 and self.distinct == self.rows - self.missing


def profile(column: ColumnData) -> Profile:
    """Count the distinct values of a raw column."""
    rows = len(column)
    if isinstance(column, Ragged):
        return Profile(rows, int((np.diff(column.offsets) == 0).sum()), None, np.zeros(0, np.int64))
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return Profile(rows, int(np.isnan(column).all(axis=1).sum()), None, np.zeros(0, np.int64))
    coded = as_coded(column).compact()
    return Profile(rows, int((coded.codes < 0).sum()), coded, coded.counts())


def as_coded(column: ColumnData) -> Coded:
    """Return a raw column as text, without loss: whole floats as `12`, times as ISO 8601."""
    if isinstance(column, Coded):
        return column
    assert isinstance(column, np.ndarray)
    absent = {"M": np.isnat, "f": np.isnan}.get(column.dtype.kind)
    missing = absent(column) if absent is not None else np.zeros(len(column), dtype=bool)
    values, codes = np.unique(column[~missing], return_inverse=True)
    out = np.full(len(column), -1, dtype=np.int32)
    out[~missing] = codes
    return Coded(out, np.datetime_as_string(values).astype(object) if values.dtype.kind == "M" else whole_text(values))
