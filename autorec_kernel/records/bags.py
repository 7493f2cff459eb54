"""`Bags`: a multi-valued feature stored ragged, values one after the other and the offsets of the rows; padded only in a batch (numpy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorec_kernel.records.lists import offsets_of, owners, take_lists

__all__ = ["Bags", "Values", "padded", "same_width"]


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Rows of a vocabulary, some for each row of the data; both arrays may be memory-mapped.

    Indexing gives a batch: int64 [A, W], padded with 0 on the right to the longest of the rows asked for, W >= 1. `numpy.asarray`
    gives all rows, padded to `width`.

    Args:
        values: int32 [total], never 0.
        offsets: int64 [n + 1]; row i owns values[offsets[i]:offsets[i + 1]].
        width: Most values that a row can have.
    """

    values: np.ndarray
    offsets: np.ndarray
    width: int

    @classmethod
    def of(cls, rows: np.ndarray) -> Bags:
        """Return the bags of padded rows, integers [n, W]; zeros are left out wherever they stand."""
        real = rows != 0
        return cls(rows[real].astype(np.int32), offsets_of(real.sum(1)), rows.shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of the padded rows."""
        return len(self), self.width

    @property
    def nbytes(self) -> int:
        """Return the bytes of both arrays."""
        return int(self.values.nbytes + self.offsets.nbytes)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (values int32 [total], offsets int64 [A + 1]) of some rows int64 [A]: what they hold, one after the other."""
        offsets, index = take_lists(self.offsets, rows)
        return self.values[index], offsets

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return padded(*self.take(np.asarray(rows)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return padded(self.values, self.offsets, self.width).astype(np.int32 if dtype is None else dtype)


Values = np.ndarray | Bags  # what is kept for the rows of a split or of an entity


def padded(values: np.ndarray, offsets: np.ndarray, width: int = 0) -> np.ndarray:
    """Return int64 [A, W], the lists side by side, padded with 0 on the right to `width`, or to the longest (at least 1)."""
    lengths = np.diff(offsets)
    found = np.zeros((len(lengths), width or max(1, int(lengths.max(initial=1)))), np.int64)
    owner = owners(offsets)
    found[owner, np.arange(len(owner)) - offsets[:-1][owner]] = values
    return found


def same_width(batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return arrays [A, W] padded with zeros to the widest of them; others as they are."""
    if not batches or batches[0].ndim != 2:
        return list(batches)
    widest = max(batch.shape[1] for batch in batches)
    return [np.pad(batch, ((0, 0), (0, widest - batch.shape[1]))) for batch in batches]
