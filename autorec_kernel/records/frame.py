"""The state of one run of a program: its columns, the values made so far, and how its tables are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.table import MISSING_TIME, Coded, Ragged
from autorec_kernel.records.vocabulary import Vocabulary, as_text

__all__ = ["Frame", "ReadContext"]


@dataclass(frozen=True, slots=True)
class ReadContext:
    """How a program is run.

    Args:
        rows: Rows of the result.
        latest: Read as-of tables at the end instead of strictly before each row's time.
        histories: (offsets int64 [rows + 1], item rows int64) that stand for what tables keyed by the user know; None = read the tables.
        lengths: Output name to steps of a history, at most those of its step.
        places: Identities of the offsets and times of as-of tables → columns of the kernel → entries that the rows' moments fall on:
            shared by all programs that are run over the same rows. None = each finds its own.
    """

    rows: int
    latest: bool = False
    histories: tuple[np.ndarray, np.ndarray] | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[tuple[int, int], dict[Any, np.ndarray | None]] | None = None


@dataclass(slots=True)
class Frame:
    """The state of one run: values by name, and states read on the way; `cache` outlives the run."""

    arrays: Mapping[str, np.ndarray]
    tables: Mapping[str, AsOfTable]
    context: ReadContext
    values: dict[str, Any]
    cache: dict[str, Vocabulary]
    output: str = ""
    found: dict[Any, Any] = field(default_factory=dict)

    def numbers(self, name: str) -> np.ndarray:
        """Return a value as float64 [n] or [n, d]; missing = NaN."""
        value = self.values.get(name)
        if value is None:
            return np.full(self.context.rows, np.nan)
        if isinstance(value, Coded | Ragged):
            raise ContractError(f"column {name!r} holds text where numbers are needed")
        if value.dtype.kind == "i":
            return np.where(value == MISSING_TIME, np.nan, value.astype(np.float64))
        return np.asarray(value, dtype=np.float64)

    def integers(self, name: str, missing: int = 0) -> np.ndarray:
        """Return a value as int64 [n]."""
        value = self.values.get(name)
        if value is None:
            return np.full(self.context.rows, missing, np.int64)
        if isinstance(value, Coded | Ragged):
            raise ContractError(f"column {name!r} holds text where whole numbers are needed")
        if value.dtype.kind == "f":
            value = np.where(np.isfinite(value), value, missing)
        return np.asarray(value, dtype=np.int64)

    def constant(self, value: str | float) -> np.ndarray:
        """Return a parameter: a number, or the stored array of that name."""
        return np.asarray(self.arrays[value] if isinstance(value, str) else float(value))

    def texts(self, name: str) -> Coded:
        """Return a value as texts; numbers by their shortest form."""
        value = self.values.get(name)
        if value is None:
            return Coded(np.full(self.context.rows, -1, np.int32), np.array([], dtype=object))
        return value if isinstance(value, Coded) else as_text(value)

    def vocabulary(self, name: str) -> Vocabulary:
        """Return the vocabulary stored under `name`; its index is built once a program."""
        if name not in self.cache:
            self.cache[name] = Vocabulary.load(self.arrays, f"{name}.")
        return self.cache[name]
