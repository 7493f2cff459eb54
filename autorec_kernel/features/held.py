"""A stretch of training rows copied out of long files: reading, not mapping, so that no page of a file counts as this process's memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features.entities import ITEM, ITEM_KEY, USER, USER_KEY
from autorec_kernel.features.parts import Part
from autorec_kernel.records.bags import Bags
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet

__all__ = ["Held", "bytes_of_a_row", "read_rows"]

_GAP = 1 << 14  # bytes that are read and thrown away rather than skipped by another call


class Held:
    """Some training rows of a feature set in memory: read when first asked for, let go after the last use.

    Args:
        features: Where they come from.
        rows: int64 [n], ascending: their numbers there; here they are 0 … n - 1.
        names: Features that the rows will be asked for.
        labels: Labels that they will be asked for.
        uses: How often `let_go` is called before nobody needs the rows any more.
    """

    def __init__(self, features: FeatureSet, rows: np.ndarray, names: Iterable[str], labels: Iterable[str], uses: int) -> None:
        self.rows = rows
        self._features, self._names, self._labels, self._uses = features, frozenset(names), tuple(labels), uses
        self._read: FeatureSet | None = None
        self._lock = threading.Lock()

    def read(self) -> FeatureSet:
        """Return a feature set that has these rows alone."""
        with self._lock:
            if self._read is None:
                self._read = _copy(self._features, self.rows, self._names, self._labels)
            return self._read

    def let_go(self) -> None:
        """Say that one use is over."""
        with self._lock:
            self._uses -= 1
            self._read = self._read if self._uses else None


def _copy(features: FeatureSet, rows: np.ndarray, names: frozenset[str], labels: tuple[str, ...]) -> FeatureSet:
    part = features.parts["train"]
    read = {USER, ITEM, USER_KEY, ITEM_KEY}.union(
        *(op.program.inputs for op in features.fitted if names & {feature.name for feature in op.features})
    )
    events: dict[str, ColumnData] = {name: _copied(part.events[name], rows) for name in read if name in part.events}
    values = {name: _copied(part.values[name], rows) for name in names if name in part.values}
    kept = Part(Table(events, len(rows)), {name: read_rows(part.labels[name], rows) for name in labels}, values)
    return replace(features, parts={"train": kept}, _cache={})


def bytes_of_a_row(features: FeatureSet, names: Iterable[str]) -> int:
    """Return how much is stored for a training row of these features, its user, item and label included; the mean for bags."""
    part = features.parts["train"]
    return 20 + sum(part.values[name].nbytes for name in names if name in part.values) // max(1, part.rows)


def _copied(column: Any, rows: np.ndarray) -> Any:
    if isinstance(column, Coded):
        return Coded(read_rows(column.codes, rows), column.values)
    if not isinstance(column, Bags | Ragged):
        return read_rows(column, rows)
    starts = read_rows(column.offsets, rows)
    lengths = read_rows(column.offsets, rows + 1) - starts
    offsets = offsets_of(lengths)
    inside = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return replace(column, values=_copied(column.values, inside), offsets=offsets)


def read_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return array[rows] for ascending, distinct rows int64 [n]; of a memory-mapped array the file is read, neighbours in one call."""
    mapped = _mapped(array)
    if mapped is None or not len(rows):
        return np.asarray(array[rows])
    start = mapped.offset + array.ctypes.data - mapped.ctypes.data
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    cuts = np.flatnonzero(np.diff(rows) > max(1, _GAP // array.strides[0])) + 1
    with open(str(mapped.filename), "rb", buffering=0) as file:
        for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            _read(file, start, rows[begin:end], found[begin:end])
    return found


def _read(file: BinaryIO, start: int, rows: np.ndarray, found: np.ndarray) -> None:
    """Fill `found` from the stretch of the file that `rows` span."""
    first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
    stretch = found if count == len(rows) else np.empty((count, *found.shape[1:]), found.dtype)
    file.seek(start + first * stretch.strides[0])
    left = stretch.reshape(-1).view(np.uint8).data
    while len(left):
        read = file.readinto(left)  # type: ignore[attr-defined]
        if not read:
            raise InfrastructureError("a stored array is shorter than it was when it was opened", where=str(file.name))
        left = left[read:]
    if stretch is not found:
        found[:] = stretch[rows - first]


def _mapped(array: np.ndarray) -> np.memmap | None:
    """Return the mapping of a file that an array lies in, row after row; None where it lies in memory."""
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return whole if isinstance(whole, np.memmap) and whole.filename is not None and array.flags.c_contiguous and array.nbytes else None
