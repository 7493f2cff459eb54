"""Domains of numbers: a grid of ints and an interval of floats, linear or logarithmic."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from autorec_kernel.space.domain import Domain, Size, Value, refuse_unless, whole

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Float", "Int"]

_REACH = 0.2  # standard deviation of a mutation, as a share of the domain's width
_EXACT = 2**53  # ints beyond this are not exact in JSON readers


def _reflected(unit: float, rng: np.random.Generator) -> float:
    """Return `unit` after a Gaussian step, mirrored back into [0, 1]."""
    moved = abs(unit + _REACH * float(rng.standard_normal()))
    return min(1.0, max(0.0, moved if moved <= 1.0 else 2.0 - moved))


@dataclass(frozen=True, slots=True)
class Int(Domain):
    """Ints `low, low + step, …` up to `high`, both ends included.

    Args:
        low: Smallest value.
        high: Upper bound; a member when it lies on the grid.
        log: Sample evenly on the log scale (`low >= 1`, `step == 1`).
        step: Distance of two neighbours.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        shown = {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        refuse_unless(all(type(v) is int for v in (self.low, self.high, self.step)), "an Int domain has int bounds and step", shown)
        refuse_unless(-_EXACT <= self.low <= self.high <= _EXACT, "an Int domain needs low <= high, both within ±2**53", shown)
        refuse_unless(self.step >= 1, "the step of an Int domain is at least 1", shown)
        refuse_unless(not self.log or (self.low >= 1 and self.step == 1), "a log Int domain needs low >= 1 and step 1", shown)

    @property
    def size(self) -> int:
        """Return the number of grid points."""
        return (self.high - self.low) // self.step + 1

    def contains(self, value: object) -> bool:
        """Return whether `value` is an int on the grid."""
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def values(self) -> Iterator[int]:
        """Yield the grid points in order."""
        return iter(range(self.low, self.high + 1, self.step))

    def sample(self, rng: np.random.Generator) -> int:
        """Draw a grid point."""
        return self.at(float(rng.random()))

    def mutate(self, value: Value, rng: np.random.Generator) -> int:
        """Return a nearby grid point, never `value` itself unless it is the only one."""
        old = cast(int, self.cast(value))
        new = self.at(_reflected(self.unit(old), rng))
        if new != old or self.size == 1:
            return new
        step = self.step if rng.random() < 0.5 else -self.step
        return old + step if self.contains(old + step) else old - step

    def unit(self, value: int) -> float:
        """Return the position of a member in [0, 1], on the domain's scale."""
        if self.log:
            low, width = self._log_range()
            return (math.log(value) - low) / width
        return ((value - self.low) // self.step + 0.5) / self.size

    def at(self, unit: float) -> int:
        """Return the member at position `unit` in [0, 1]; even positions give an even draw on the domain's scale."""
        if self.log:
            low, width = self._log_range()
            return min(self.high, max(self.low, round(math.exp(low + unit * width))))
        return self.low + self.step * min(self.size - 1, int(unit * self.size))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "int", "low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def _plain(self, value: object) -> object:
        return whole(value)

    def _log_range(self) -> tuple[float, float]:
        low = math.log(self.low - 0.5)  # half a step beyond each end, so that the end points get their full share
        return low, math.log(self.high + 0.5) - low


@dataclass(frozen=True, slots=True)
class Float(Domain):
    """Floats from `low` to `high`, both ends included.

    Args:
        low: Smallest value.
        high: Largest value.
        log: Sample evenly on the log scale (`low > 0`).
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        shown = {"low": self.low, "high": self.high, "log": self.log}
        for name in ("low", "high"):
            object.__setattr__(self, name, self._plain(getattr(self, name)))
        good = type(self.low) is float and type(self.high) is float and math.isfinite(self.high - self.low) and self.low <= self.high
        refuse_unless(good, "a Float domain needs finite low <= high", shown)
        refuse_unless(not self.log or self.low > 0, "a log Float domain needs low > 0", shown)

    @property
    def size(self) -> Size:
        """Return `math.inf`, or 1 when both ends meet."""
        return math.inf if self.low < self.high else 1

    def contains(self, value: object) -> bool:
        """Return whether `value` is a float in the interval (NaN is not)."""
        return type(value) is float and self.low <= value <= self.high

    def values(self) -> Iterator[float]:
        """Yield the one point of an interval whose ends meet; raises `UsageError` for a wider one."""
        refuse_unless(self.size == 1, "the members of a float interval cannot be listed", {"low": self.low, "high": self.high})
        return iter((self.low,))

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a point of the interval."""
        return self.at(float(rng.random()))

    def mutate(self, value: Value, rng: np.random.Generator) -> float:
        """Return a nearby point, never `value` itself unless it is the only one."""
        old = cast(float, self.cast(value))
        new = self.at(_reflected(self.unit(old), rng))
        if new != old:
            return new
        return self.high if old == self.low else self.low

    def unit(self, value: float) -> float:
        """Return the position of a member in [0, 1], on the domain's scale."""
        if self.low == self.high:
            return 0.0
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def at(self, unit: float) -> float:
        """Return the member at position `unit` in [0, 1]."""
        if self.log:
            low = math.log(self.low)
            point = math.exp(low + unit * (math.log(self.high) - low))
        else:
            point = self.low + unit * (self.high - self.low)
        return min(self.high, max(self.low, point))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "float", "low": self.low, "high": self.high, "log": self.log}

    def _plain(self, value: object) -> object:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return float(value) + 0.0 if real else value  # type: ignore[arg-type]  # + 0.0 makes -0.0 the one zero
