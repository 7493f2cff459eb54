"""`Positives`: whether a user has chosen an item in training, asked for many pairs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autorec_kernel.records.interactions import Interactions

__all__ = ["Positives"]

_BITS = 1 << 29  # pairs that a table of bits may have: 64 MiB; more are searched for among the sorted ones


class Positives:
    """The pairs of the training events, as a table of bits where that is small, else as sorted keys.

    Args:
        history: The events.
        bits: Largest table in pairs.
    """

    def __init__(self, history: Interactions, bits: int = _BITS) -> None:
        users = np.repeat(np.arange(history.users, dtype=np.int64), np.diff(history.offsets))
        keys = users * history.item_count + history.items
        self.items, self.count = history.item_count, history.users * history.item_count
        self._keys = np.unique(keys) if self.count > bits else None
        self._bits = np.zeros(0 if self.count > bits else -(-self.count // 8), np.uint8)
        if self._keys is None:
            np.bitwise_or.at(self._bits, keys >> 3, np.left_shift(1, keys & 7).astype(np.uint8))

    def holds(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return bool [P], which of the pairs int64 [P] are among the events."""
        keys = users.astype(np.int64, copy=False) * self.items + items
        if self._keys is None:
            return np.asarray(self._bits[keys >> 3] >> (keys & 7).astype(np.uint8) & 1, dtype=bool)
        return np.asarray(np.append(self._keys, -1)[np.searchsorted(self._keys, keys)] == keys)
