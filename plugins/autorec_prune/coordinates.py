"""`Coordinates`: numbers of the places along the axes of tensors, put together where one cannot go without the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["FIXED", "Coordinates"]

FIXED = 0  # the number of what cannot go


@dataclass(slots=True)
class Coordinates:
    """What is known of a network's tensors.

    Attributes:
        axes: (tensor, axis) → int64 [n], numbers that no other axis has.
        parts: int64 arrays [s]: parts of one axis that the network takes apart; of each the same share has to stay.
        seen: The tensors that were read.
        strange: Operators that were not understood: what they read is fixed.
    """

    axes: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    parts: dict[bytes, np.ndarray] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    strange: set[str] = field(default_factory=set)
    _parent: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    def name(self, key: tuple[str, int], count: int) -> np.ndarray:
        """Return new numbers for an axis."""
        start = len(self._parent)
        self.axes[key] = np.arange(start, start + count)
        self._parent = np.concatenate([self._parent, self.axes[key]])
        return self.axes[key]

    def owner(self, number: int) -> tuple[str, int]:
        """Return the axis that a number is of."""
        return next(key for key, numbers in self.axes.items() if numbers[0] <= number <= numbers[-1])

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the least number that each one was put together with: `FIXED` for what has to stay."""
        found: np.ndarray = self._parent[numbers]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[numbers] = found
                return found
            found = above

    def unite(self, first: np.ndarray, second: np.ndarray) -> None:
        """Put numbers together, pair by pair."""
        pairs = np.unique(np.stack([self.of(first.ravel()), self.of(second.ravel())], 1), axis=0)
        for one, other in pairs[pairs[:, 0] != pairs[:, 1]]:
            low, high = sorted((self._top(one), self._top(other)))
            self._parent[high] = low

    def part(self, numbers: np.ndarray) -> None:
        """Note a part of an axis; a single place that is told apart cannot go."""
        numbers = np.unique(numbers)
        if len(numbers) == 1:
            self.fix(numbers)
        else:
            self.parts[numbers.tobytes()] = numbers

    def fix(self, numbers: np.ndarray) -> None:
        """Let none of them go."""
        self.unite(numbers, np.full_like(numbers, FIXED))

    def _top(self, number: int) -> int:
        while self._parent[number] != number:
            number = self._parent[number]
        return int(number)
