"""Compressed rows: one variable-length list of item rows per user, as (offsets, items)."""

from __future__ import annotations

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.records.lists import owners, take_lists

__all__ = ["Csr", "as_csr", "keys", "rows_of", "take"]

Csr = tuple[np.ndarray, np.ndarray]


def as_csr(value: Csr, rows: int, *, what: str, limit: int | None = None) -> Csr:
    """Check compressed rows and return them as int64.

    Args:
        value: (offsets [rows + 1], items [offsets[-1]]).
        rows: Number of lists expected.
        what: Name used in the error.
        limit: Item rows are below it, where given.

    Raises:
        ContractError: The offsets do not describe `rows` lists, or an item row is outside its range.
    """
    offsets, items = (np.asarray(part, dtype=np.int64) for part in value)
    described = len(offsets) == rows + 1 and offsets[0] == 0 and offsets[-1] == len(items) and bool((np.diff(offsets) >= 0).all())
    if not described:
        raise ContractError(f"{what}: expected offsets of {rows} lists over {len(items)} items, got {len(offsets)} offsets")
    if len(items) and items.min() < 0:
        raise ContractError(f"{what}: item rows are >= 0, got {items.min()}")
    if limit is not None and len(items) and items.max() >= limit:
        raise ContractError(f"{what}: item row {items.max()} is outside the {limit} rows of the catalogue")
    return offsets, items


def rows_of(csr: Csr) -> np.ndarray:
    """Return int64 [entries], the list that each entry belongs to."""
    return owners(csr[0])


def take(csr: Csr, rows: np.ndarray) -> Csr:
    """Return the given lists (int64 row numbers), in that order."""
    offsets, index = take_lists(csr[0], rows)
    return offsets, csr[1][index]


def keys(rows: np.ndarray, items: np.ndarray, width: int) -> np.ndarray:
    """Return int64 codes of (row, item) pairs; `width` exceeds every item."""
    return np.asarray(rows * np.int64(width) + items)
