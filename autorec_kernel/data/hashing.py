"""Content hashes of rows: what a random split draws from, so that the order of the rows in the file does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from autorec_kernel.records.table import Coded, ColumnData, Ragged

__all__ = ["row_hash", "uniform"]


def row_hash(columns: Iterable[ColumnData], rows: int, seed: int) -> np.ndarray:
    """Return uint64 [n]: a hash of each row's values, the same in every process and on every machine."""
    state = np.full(rows, np.uint64(seed & 0xFFFFFFFFFFFFFFFF), dtype=np.uint64)
    for column in columns:
        state = _mix(state ^ _column_hash(column))
    return _mix(state)


def uniform(keys: np.ndarray) -> np.ndarray:
    """Return float64 [n] in [0, 1) from uint64 hashes."""
    return (keys >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _column_hash(column: ColumnData) -> np.ndarray:
    if isinstance(column, Coded):
        digests = b"".join(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest() for value in column.values)
        known = np.append(np.frombuffer(digests, dtype="<u8"), np.uint64(0))
        return np.asarray(known[column.codes], dtype=np.uint64)
    if isinstance(column, Ragged):
        return np.diff(column.offsets).astype(np.uint64)
    if column.ndim == 2:
        return np.ascontiguousarray(column[:, 0].astype(np.float64)).view(np.uint64)
    return np.ascontiguousarray(column.astype(np.float64) if column.dtype.kind == "f" else column.astype(np.int64)).view(np.uint64)


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit words (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
