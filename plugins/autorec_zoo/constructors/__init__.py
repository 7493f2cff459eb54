"""Python constructors of the zoo: one function a blueprint, generated from its `Config`; no torch until one is called."""

from __future__ import annotations

from functools import cache
from typing import Any

from autorec_zoo.constructors.names import constructor_names

__all__ = ["public", "public_names"]

_RECORDS = ("Bag", "Field", "History", "Numeric")


def public_names() -> tuple[str, ...]:
    """Return the names that `autorec_zoo` offers, sorted."""
    return tuple(sorted((*constructor_names(), *_RECORDS)))


@cache
def public(name: str) -> Any:
    """Return the constructor or record of this name.

    Raises:
        AttributeError: There is none; the nearest name is offered.
    """
    from autorec_kernel.errors import nearest

    if name in _RECORDS:
        from autorec_zoo.constructors import columns

        return getattr(columns, name)
    spec = constructor_names().get(name)
    if spec is None:
        close = nearest(name, public_names())
        raise AttributeError(f"module 'autorec_zoo' has no attribute {name!r}" + (f": did you mean {close!r}?" if close else ""))
    from autorec_zoo.constructors.build import constructor

    return constructor(name, spec)
