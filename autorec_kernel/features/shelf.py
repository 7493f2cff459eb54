"""Where the values and tables of fitted ops lie: in memory, or, what is long, in files of the feature set's folder, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features.compute import Fitted, keep
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.bags import Bags, Values
from autorec_kernel.records.features import Feature
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.mapped import let_go

__all__ = ["ARRAYS", "Shelf", "Sink", "file_of", "release"]

ARRAYS = "arrays"  # the folder of them inside that of a feature set

LONG = 1 << 20  # bytes from which an array goes into a file
_MARK = "shelf-"
_MOST = 8  # pairs of offsets and times that are looked at for a key


class Shelf:
    """Takes arrays in; those of as-of tables that hold the same events are kept once.

    Args:
        folder: Of the arrays' files, emptied of what an earlier shelf left there; None = everything stays in memory.

    Attributes:
        error: Why a file could not be written, None where all could.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.error: InfrastructureError | None = None
        self._files = 0
        self._events: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for file in folder.glob(f"{_MARK}*.npy"):
                file.unlink()

    @property
    def held(self) -> list[tuple[int, int]]:
        """Return the identities of offsets and times that tables share; both stay alive as long as the shelf."""
        return [(id(offsets), id(times)) for known in self._events.values() for offsets, times in known]

    def put(self, array: np.ndarray) -> np.ndarray:
        """Return the array, from its file where it is long."""
        if self.folder is None or array.nbytes < LONG or file_of(array, self.folder):
            return array
        file = self.opened(array.shape, array.dtype)
        file.write(np.ascontiguousarray(array))
        return file.mapped()

    def values(self, values: Values) -> Values:
        """Return what is kept of rows, long arrays of it from their files."""
        if isinstance(values, Bags):
            return replace(values, values=self.put(values.values), offsets=self.put(values.offsets))
        return self.put(values)

    def opened(self, shape: tuple[int, ...], dtype: Any) -> _File:
        """Return a new file for an array of this shape, written row after row."""
        assert self.folder is not None
        self._files += 1
        return _File(self, self.folder / f"{_MARK}{self._files}.npy", shape, np.dtype(dtype))

    def shared(self, op: Fitted) -> Fitted:
        """Return the op with tables that share offsets and times with earlier ones of the same events."""
        if not op.program.tables:
            return op
        tables = {name: self._shared(table) for name, table in op.program.tables.items()}
        return replace(op, program=replace(op.program, tables=tables))

    def stored(self, op: Fitted) -> Fitted:
        """Return the op with its long arrays in files."""
        arrays = {name: self.put(array) for name, array in op.program.arrays.items()}
        tables = {
            name: replace(t, offsets=self.put(t.offsets), times=self.put(t.times), values=self.put(t.values))
            for name, t in op.program.tables.items()
        }
        found = replace(op, program=replace(op.program, arrays=arrays, tables=tables, _cache={}))
        let_go(found.program.stored().values())
        return found

    def _shared(self, table: AsOfTable) -> AsOfTable:
        if not (table.key.startswith("@") and table.time):
            return table
        known = self._events.setdefault((table.key, table.time, table.where), [])
        for offsets, times in known:
            if np.array_equal(times, table.times) and np.array_equal(offsets, table.offsets):
                return replace(table, offsets=offsets, times=times)
        table = replace(table, offsets=self.put(table.offsets), times=self.put(table.times))
        if len(known) < _MOST:
            known.append((table.offsets, table.times))
        return table


class _File:
    """An array that is written row after row."""

    def __init__(self, shelf: Shelf, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shelf, self.path, self.shape, self.dtype = shelf, path, shape, dtype
        self._begun = False

    def write(self, rows: np.ndarray) -> None:
        """Append rows."""
        try:
            with self.path.open("ab" if self._begun else "wb") as file:
                if not self._begun:
                    header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(rows.reshape(-1).view(np.uint8).data)
        except OSError as error:
            self.shelf.error = InfrastructureError(f"features cannot be written: {error}", where=str(self.path.parent))
            raise self.shelf.error from error
        self._begun = True

    def mapped(self) -> np.ndarray:
        """Return the array, memory-mapped."""
        return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))


class Sink:
    """Collects the values of a feature, block after block."""

    def __init__(self, shelf: Shelf, feature: Feature, rows: int) -> None:
        self._shelf, self._feature, self._rows = shelf, feature, rows
        self._bags: list[Bags] = []
        self._file: _File | None = None
        self._array: np.ndarray | None = None

    def add(self, value: np.ndarray, start: int) -> None:
        """Take in the values of rows from `start` on."""
        kept = keep(value, self._feature)
        if isinstance(kept, Bags):
            self._bags.append(kept)
            return
        if self._array is None and self._file is None:
            shape = (self._rows, *kept.shape[1:])
            if self._shelf.folder is None or self._rows * kept[:1].nbytes < LONG:
                self._array = np.empty(shape, kept.dtype)
            else:
                self._file = self._shelf.opened(shape, kept.dtype)
        if self._array is not None:
            self._array[start : start + len(kept)] = kept
        elif self._file is not None:
            self._file.write(kept)

    def close(self) -> Values:
        """Return all values."""
        if self._bags:
            lengths = np.concatenate([np.diff(bags.offsets) for bags in self._bags])
            values = np.concatenate([bags.values for bags in self._bags])
            return self._shelf.values(Bags(values, offsets_of(lengths), self._bags[0].width))
        if self._file is not None:
            return self._file.mapped()
        assert self._array is not None
        return self._array


def file_of(array: np.ndarray, folder: Path) -> str:
    """Return the name, without its suffix, of the shelf's file in `folder` that holds this array whole; "" where there is none."""
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None or whole.nbytes != array.nbytes:
        return ""
    path = Path(str(whole.filename))
    return path.stem if path.parent == folder.absolute() and path.name.startswith(_MARK) and array.flags.c_contiguous else ""


def release(values: Iterable[Any]) -> None:
    """Let go of what was read of memory-mapped arrays and bags."""
    for value in values:
        let_go((value.values, value.offsets) if isinstance(value, Bags) else (value,))
