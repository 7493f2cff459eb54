"""What a serving state is asked for: rows, keys, histories and columns, and what was worked out of them so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.records.table import ColumnData

__all__ = ["Request", "rows_asked", "spread"]


@dataclass(frozen=True, slots=True)
class Request:
    """Rows asked for.

    Args:
        users, items, user_keys, item_keys: int64 [rows].
        histories: Given ones, offsets and items.
        columns, clock: Context.
        alone: Whether one user stands for all rows, who is known by the stored state alone.
        found: What programs gave for these rows.
    """

    rows: int
    users: np.ndarray
    items: np.ndarray
    user_keys: np.ndarray
    item_keys: np.ndarray
    histories: tuple[np.ndarray, np.ndarray] | None
    columns: Mapping[str, ColumnData]
    clock: int | None
    alone: bool = False
    found: dict[Any, Mapping[str, Any]] = field(default_factory=dict)


def rows_asked(
    users: np.ndarray | None,
    items: np.ndarray | None,
    histories: tuple[np.ndarray, np.ndarray] | None,
    columns: Mapping[str, ColumnData] | None,
) -> int:
    """Return how many rows a request asks for.

    Raises:
        ContractError: Its parts disagree.
    """
    sizes = [len(part) for part in (users, items) if part is not None] + [len(column) for column in (columns or {}).values()]
    if histories is not None:
        sizes.append(len(histories[0]) - 1)
    rows = max(sizes, default=0) if 0 not in sizes else 0
    wrong = [size for size in sizes if size not in (1, rows)]
    if wrong or (histories is not None and len(histories[0]) - 1 != rows) or any(len(c) != rows for c in (columns or {}).values()):
        raise ContractError(f"users, items, histories and columns disagree on the number of rows: {sizes}")
    return rows


def spread(rows: np.ndarray | None, count: int, size: int) -> np.ndarray:
    """Return int64 [count] keys below `size`, 0 = unknown; one key stands for all rows."""
    if rows is None:
        return np.zeros(count, np.int64)
    known = np.asarray(rows, dtype=np.int64)
    known = np.where((known >= 0) & (known < size), known, 0)
    return np.broadcast_to(known, count) if len(known) != count else known
