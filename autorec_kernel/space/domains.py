"""All domains in one place, and how they are read back from JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autorec_kernel.errors import UnknownNameError
from autorec_kernel.space.choices import Bool, Choice
from autorec_kernel.space.domain import Domain, Scalar, Size, Value, same_value
from autorec_kernel.space.lists import Floats, Ints
from autorec_kernel.space.numeric import Float, Int

__all__ = ["Bool", "Choice", "Domain", "Float", "Floats", "Int", "Ints", "Scalar", "Size", "Value", "domain_from_json", "same_value"]


def _number(kind: type[Int] | type[Float]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda value: kind(**{key: item for key, item in value.items() if key != "kind"})


_READERS: dict[str, Callable[[Mapping[str, Any]], Domain]] = {
    "bool": lambda value: Bool(),
    "choice": lambda value: Choice(tuple(value["options"])),
    "float": _number(Float),
    "floats": lambda value: Floats(_number(Float)(value["item"]), _number(Int)(value["length"])),
    "int": _number(Int),
    "ints": lambda value: Ints(_number(Int)(value["item"]), _number(Int)(value["length"])),
}


def domain_from_json(value: Mapping[str, Any]) -> Domain:
    """Read what `Domain.to_json` wrote.

    Raises:
        UnknownNameError: The kind of domain is unknown.
        UsageError: The bounds are not legal.
    """
    kind = str(value.get("kind"))
    if kind not in _READERS:
        raise UnknownNameError("kind of domain", kind, _READERS)
    return _READERS[kind](value)
