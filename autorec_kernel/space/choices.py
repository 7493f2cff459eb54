"""Domains of named options: a choice and a switch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autorec_kernel.space.domain import Domain, Value, refuse_unless, same_value

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Bool", "Choice"]


@dataclass(frozen=True, slots=True, init=False)
class Choice(Domain):
    """One of several options without an order, each a JSON scalar or a tuple of scalars.

    `Choice("a", "b")` and `Choice(("a", "b"))` are the same domain; options that are tuples come as `Choice(((16, 8), (4,)))`.
    """

    options: tuple[Value, ...]

    def __init__(self, *options: Any) -> None:
        given = options[0] if len(options) == 1 and isinstance(options[0], (tuple, list)) else options
        plain = tuple(_frozen(option) for option in given)
        object.__setattr__(self, "options", plain)
        refuse_unless(bool(plain), "a Choice needs at least one option", {"options": plain})
        refuse_unless(all(map(_legal, plain)), "the options of a Choice are JSON scalars or tuples of them", {"options": plain})
        distinct = all(not same_value(a, b) for i, a in enumerate(plain) for b in plain[:i])
        refuse_unless(distinct, "the options of a Choice are distinct", {"options": plain})

    def __repr__(self) -> str:
        return f"Choice{self.options!r}" if len(self.options) > 1 else f"Choice({self.options!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and same_value(self.options, other.options)

    def __hash__(self) -> int:
        return hash(self.options)

    @property
    def size(self) -> int:
        """Return the number of options."""
        return len(self.options)

    def contains(self, value: object) -> bool:
        """Return whether `value` is one of the options."""
        return any(same_value(value, option) for option in self.options)

    def index(self, value: Value) -> int:
        """Return the place of an option; raises `UsageError` for a stranger."""
        plain = self.cast(value)
        return next(i for i, option in enumerate(self.options) if same_value(plain, option))

    def values(self) -> Iterator[Value]:
        """Yield the options in order."""
        return iter(self.options)

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw an option."""
        return self.options[int(rng.integers(len(self.options)))]

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Return another option, each with the same chance."""
        at = self.index(value)
        if len(self.options) == 1:
            return self.options[0]
        drawn = int(rng.integers(len(self.options) - 1))
        return self.options[drawn + (drawn >= at)]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "choice", "options": [list(o) if isinstance(o, tuple) else o for o in self.options]}

    def _plain(self, value: object) -> object:
        return _frozen(value)


@dataclass(frozen=True, slots=True)
class Bool(Domain):
    """False or True."""

    @property
    def size(self) -> int:
        """Return 2."""
        return 2

    def contains(self, value: object) -> bool:
        """Return whether `value` is a bool."""
        return type(value) is bool

    def values(self) -> Iterator[bool]:
        """Yield False, then True."""
        return iter((False, True))

    def sample(self, rng: np.random.Generator) -> bool:
        """Draw a side of the coin."""
        return bool(rng.integers(2))

    def mutate(self, value: Value, rng: np.random.Generator) -> bool:
        """Return the other one."""
        return not self.cast(value)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "bool"}


def _frozen(option: object) -> object:
    return tuple(option) if isinstance(option, (list, tuple)) else option


def _legal(option: object) -> bool:
    if isinstance(option, tuple):
        return all(not isinstance(item, tuple) and _legal(item) for item in option)
    return option is None or type(option) in (bool, int, str) or (type(option) is float and math.isfinite(option))
