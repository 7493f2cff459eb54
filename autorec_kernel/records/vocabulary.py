"""`Vocabulary`: texts in order, each with a row; row 0 = unknown. Two plain arrays, so it travels without pickle (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.table import Coded, Ragged

__all__ = ["Vocabulary", "as_text"]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Texts of rows 1, 2, …; row 0 stands for every other text and for missing.

    Args:
        data: uint8 [bytes], the UTF-8 texts one after the other.
        offsets: int64 [n + 1]; row r owns data[offsets[r - 1]:offsets[r]].

    Raises:
        BundleError: The offsets do not describe the data.
    """

    data: np.ndarray
    offsets: np.ndarray
    _index: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        bounds = self.offsets
        if len(bounds) == 0 or bounds[0] != 0 or bounds[-1] != len(self.data) or (np.diff(bounds) < 0).any():
            raise BundleError("a vocabulary is damaged: its offsets do not describe its text")

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of distinct texts, in the order given."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        lengths = np.fromiter((len(text) for text in encoded), dtype=np.int64, count=len(encoded))
        offsets = offsets_of(lengths)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    @property
    def size(self) -> int:
        """Return the number of rows, row 0 included."""
        return len(self.offsets)

    def first(self, count: int) -> Vocabulary:
        """Return the vocabulary of the first `count` texts."""
        return Vocabulary(self.data[: self.offsets[count]], self.offsets[: count + 1])

    def row_of(self, ids: Iterable[str | None]) -> np.ndarray:
        """Return int64 [n], 0 for a text that is not there."""
        index: Mapping[Any, int] = self._texts()
        return np.fromiter(map(index.get, ids, repeat(0)), dtype=np.int64)

    def ids_of(self, rows: Iterable[int] | np.ndarray) -> list[str]:
        """Return the texts of rows; "" for row 0 and for rows that do not exist."""
        data = self.data.tobytes() if self.size > 64 and np.size(rows) > self.size // 8 else None  # type: ignore[arg-type]
        return [self._text(int(row), data) for row in rows]

    def rows_of_column(self, column: Coded | np.ndarray) -> np.ndarray:
        """Return int64 [n] for a column; numbers are read as their shortest text (1.0 as `1`). Each distinct text is looked up once."""
        coded = column if isinstance(column, Coded) else as_text(column)
        if len(coded.values) <= len(coded.codes):
            return np.asarray(np.append(self.row_of(coded.values), 0)[coded.codes])
        used, inverse = np.unique(coded.codes, return_inverse=True)
        texts = [coded.values[code] if code >= 0 else None for code in used]
        return np.asarray(self.row_of(texts)[inverse])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the two arrays to store."""
        return {"bytes": self.data, "offsets": self.offsets}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Vocabulary:
        """Read what `arrays` returned, under `prefix`."""
        return cls(np.asarray(arrays[f"{prefix}bytes"]), np.asarray(arrays[f"{prefix}offsets"]))

    def _text(self, row: int, data: bytes | None) -> str:
        if not 1 <= row < self.size:
            return ""
        start, end = self.offsets[row - 1], self.offsets[row]
        return (data[start:end] if data is not None else self.data[start:end].tobytes()).decode("utf-8", "surrogatepass")

    def _texts(self) -> dict[str, int]:
        if not self._index:  # assigned whole, so that a second thread never sees half of it
            data = self.data.tobytes()
            object.__setattr__(self, "_index", {self._text(row, data): row for row in range(1, self.size)})
        return self._index


def as_text(column: np.ndarray | Ragged) -> Coded:
    """Return a numeric column as texts: whole numbers without a fraction, NaN and infinities missing."""
    if isinstance(column, Ragged):
        raise TypeError("a column of lists has no single text a row")
    values, codes = np.unique(np.asarray(column), return_inverse=True)
    known = np.isfinite(values) if values.dtype.kind == "f" else values != np.iinfo(np.int64).min
    texts = [str(int(v)) if float(v).is_integer() else repr(float(v)) for v in values[known]]
    recode = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
    return Coded(recode[codes.reshape(-1)], np.array(texts, dtype=object))
