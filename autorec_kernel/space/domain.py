"""What every search domain can do, and the plain values that a gene may take."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

from autorec_kernel.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Domain", "Scalar", "Size", "Value", "refuse_unless", "same_value", "whole"]

Scalar: TypeAlias = bool | int | float | str | None
Value: TypeAlias = Scalar | tuple[Scalar, ...]
Size: TypeAlias = int | float  # an exact int, or math.inf where floats are involved


class Domain(ABC):
    """The set of values of one gene.

    Values are plain Python (bool, int, float, str, None, tuples of them), so that a genotype is JSON. Randomness comes from the
    `rng` that is passed. Stable for callers; third parties use the domains of this package rather than their own.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def size(self) -> Size:
        """Return the exact number of values, `math.inf` for an interval of floats."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Return whether `value` is a member; types count: `1`, `1.0` and `True` are three values."""

    @abstractmethod
    def values(self) -> Iterator[Value]:
        """Yield every member once; raises `UsageError` for an interval of floats."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Value:
        """Draw a value, uniformly (on the log scale where the domain says so)."""

    @abstractmethod
    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Return another member: a different one whenever `size > 1`, a near one where the domain knows distance."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `domain_from_json` reads."""

    def cast(self, value: object) -> Value:
        """Return `value` in its plain form (a list as a tuple, an int as a float where floats are meant).

        Raises:
            UsageError: The value is no member of the domain.
        """
        plain = self._plain(value)
        if not self.contains(plain):
            raise UsageError(f"{value!r} is not in {self!r}", hint="choose a value inside the domain")
        return plain  # type: ignore[return-value]

    def _plain(self, value: object) -> object:
        """Return `value` with its Python type made plain; a value of a foreign type comes back as it is."""
        return value


def same_value(a: object, b: object) -> bool:
    """Return whether two values are equal and of equal type, item by item in tuples."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_value, a, b))
    return type(a) is type(b) and a == b


def whole(value: object) -> object:
    """Return a whole number of any integer type (not bool) as an int, everything else as it is."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return value
    return operator.index(value)


def refuse_unless(good: bool, message: str, values: Mapping[str, object]) -> None:
    """Raise a `UsageError` that shows `values` unless `good`."""
    if not good:
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise UsageError(f"{message}; got {shown}")
