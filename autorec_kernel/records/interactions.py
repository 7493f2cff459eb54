"""`Interactions`: the training events as a sparse user-by-item matrix in order of time, for closed forms and evaluation (numpy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.lists import offsets_of, take_lists

__all__ = ["Interactions"]


@dataclass(frozen=True, slots=True)
class Interactions:
    """Compressed rows, one a user; row 0 of both axes = unknown and empty.

    Args:
        offsets: int64 [users + 1]; user u owns items[offsets[u]:offsets[u + 1]], oldest first.
        items: int32 [events], item rows.
        values: float32 [events], labels, or ones.
        users, item_count: Sizes of the two axes, row 0 included.
        ordered: Whether the order inside a user is known (clock time or position).
        times: int64 [events], when (ns since 1970, UTC); None where the data has no common clock.
    """

    offsets: np.ndarray
    items: np.ndarray
    values: np.ndarray
    users: int
    item_count: int
    ordered: bool
    times: np.ndarray | None = None

    def of(self, user: int) -> np.ndarray:
        """Return int32 item rows of one user, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def transposed(self) -> Interactions:
        """Return the item-by-user matrix: the users of each item, in order of user row."""
        order = np.argsort(self.items, kind="stable")
        owners = np.repeat(np.arange(self.users, dtype=np.int32), np.diff(self.offsets))
        offsets = offsets_of(np.bincount(self.items, minlength=self.item_count))
        return Interactions(offsets, owners[order], self.values[order], self.item_count, self.users, False)

    def take(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (offsets int64 [n + 1], items int32) of the given users, in that order."""
        offsets, index = take_lists(self.offsets, users)
        return offsets, self.items[index]
