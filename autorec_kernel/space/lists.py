"""Domains of lists: every item from one numeric domain, the length from another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from autorec_kernel.space.domain import Domain, Size, Value, refuse_unless
from autorec_kernel.space.numeric import Float, Int

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Floats", "Ints"]


@dataclass(frozen=True, slots=True)
class _List(Domain):
    item: Int | Float
    length: Int
    _kind: ClassVar[type[Int] | type[Float]] = Int

    def __post_init__(self) -> None:
        kind = type(self).__name__
        good = isinstance(self.item, self._kind) and isinstance(self.length, Int)
        refuse_unless(good, f"{kind} needs an item domain of its kind and an Int length", {"item": self.item, "length": self.length})
        refuse_unless(self.length.low >= 0, f"the length of {kind} is not negative", {"length": self.length})

    @property
    def size(self) -> Size:
        """Return the number of lists of all lengths."""
        lengths = range(self.length.low, self.length.high + 1, self.length.step)
        if self.item.size == math.inf:
            return math.inf if lengths[-1] > 0 else 1
        return sum(cast(int, int(self.item.size) ** n) for n in lengths)

    def contains(self, value: object) -> bool:
        """Return whether `value` is a tuple of a legal length with legal items."""
        return isinstance(value, tuple) and self.length.contains(len(value)) and all(map(self.item.contains, value))

    def values(self) -> Iterator[Value]:
        """Yield every list, shorter ones first; raises `UsageError` when the items are an interval of floats."""
        return (row for n in self.length.values() for row in itertools.product(*(tuple(self.item.values()) for _ in range(n))))

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw the length, then every item."""
        return tuple(self.item.sample(rng) for _ in range(self.length.sample(rng)))

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Return a list with one item moved, or one step longer or shorter."""
        old = cast("tuple[Any, ...]", self.cast(value))
        may_resize, may_move = self.length.size > 1, bool(old) and self.item.size > 1
        if may_move and (not may_resize or rng.random() < 0.5):
            at = int(rng.integers(len(old)))
            return (*old[:at], self.item.mutate(old[at], rng), *old[at + 1 :])
        return self._resized(old, rng) if may_resize else old

    def _resized(self, old: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        longer = len(old) + self.length.step
        shorter = len(old) - self.length.step
        grow = self.length.contains(longer) and (not self.length.contains(shorter) or rng.random() < 0.5)
        if grow:
            at = int(rng.integers(len(old) + 1))
            return (*old[:at], *(self.item.sample(rng) for _ in range(self.length.step)), *old[at:])
        at = int(rng.integers(shorter + 1))
        return (*old[:at], *old[at + self.length.step :])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": type(self).__name__.lower(), "item": self.item.to_json(), "length": self.length.to_json()}

    def _plain(self, value: object) -> object:
        if not isinstance(value, (tuple, list)):
            return value
        return tuple(self.item._plain(item) for item in value)


@dataclass(frozen=True, slots=True)
class Ints(_List):
    """Lists of ints, as tuples: `Ints(Int(16, 512, log=True), length=Int(1, 4))`."""

    item: Int
    length: Int


@dataclass(frozen=True, slots=True)
class Floats(_List):
    """Lists of floats, as tuples: `Floats(Float(0.0, 0.5), length=Int(1, 4))`."""

    item: Float
    length: Int
    _kind: ClassVar[type[Int] | type[Float]] = Float
