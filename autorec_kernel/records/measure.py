"""`Measure`: what one event adds to a table of running totals (numpy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.blocks import stretches

__all__ = ["FRACTION", "Measure"]

FRACTION = 24  # binary digits after the point of a stored sum: exact, so neither order nor later events change an earlier state
_LARGEST = 1e4  # a standardised value beyond it is cut


@dataclass(frozen=True, slots=True)
class Measure:
    """What one event adds to a `sum` table.

    Args:
        column: "" = every event; else an event column, whose missing values add nothing.
        count: Add 1 an event (or a present value) instead of the value.
        shift, scale: What is added is (value - shift) * scale, kept to 24 binary digits.
    """

    column: str = ""
    count: bool = True
    shift: float = 0.0
    scale: float = 1.0

    def all_added(self, column: np.ndarray | None, rows: int) -> np.ndarray:
        """Return what `added` does, in little more memory than that."""
        found = np.empty(rows, np.int64)
        for start, stop in stretches(rows):
            found[start:stop] = self.added(None if column is None else np.asarray(column)[start:stop], stop - start)
        return found

    def added(self, column: np.ndarray | None, rows: int) -> np.ndarray:
        """Return int64 [rows]: the fixed-point addition of each event."""
        if column is None or not self.column:
            return np.ones(rows, np.int64)
        value = np.asarray(column, dtype=np.float64)
        known = np.isfinite(value)
        if self.count:
            return known.astype(np.int64)
        scaled = np.clip((np.where(known, value, self.shift) - self.shift) * self.scale, -_LARGEST, _LARGEST)
        return np.rint(scaled * 2.0**FRACTION).astype(np.int64)
