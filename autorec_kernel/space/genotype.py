"""`Genotype`: one point of a search space, an immutable mapping with a digest that does not depend on order or process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from autorec_kernel.errors import UsageError
from autorec_kernel.space.domain import Scalar, Value

__all__ = ["Genotype", "digest_of"]


def digest_of(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of the canonical JSON of `value` (keys sorted, no blanks, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


class Genotype(Mapping[str, Value]):
    """The chosen value of every active gene.

    Two genotypes are equal when they hold the same genes with the same values of the same types; order does not matter.
    Lists become tuples.

    Raises:
        UsageError: A name is no string or a value is not plain (bool, int, finite float, str, None or a flat list of them).
    """

    __slots__ = ("_digest", "_values")

    def __init__(self, values: Mapping[str, Any] | None = None, /) -> None:
        self._values: dict[str, Value] = {_name(name): _plain(name, value) for name, value in (values or {}).items()}
        self._digest = digest_of(self.to_json())

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genotype) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Genotype({self._values!r})"

    @property
    def digest(self) -> str:
        """Return 16 hex digits, equal in every process for equal genotypes."""
        return self._digest

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, tuples as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._values.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Genotype:
        """Read what `to_json` wrote."""
        return cls(value)


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"a gene's name is a non-empty string; got {name!r}")
    return name


def _plain(name: str, value: object) -> Value:
    if isinstance(value, (tuple, list)):
        return tuple(_scalar(name, item) for item in value)
    return _scalar(name, value)


def _scalar(name: str, value: object) -> Scalar:
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[return-value]
    if type(value) is float and value - value == 0.0:
        return value + 0.0
    raise UsageError(f"the value of a gene is a plain bool, int, finite float, str or None; got {value!r}", where=f"gene {name!r}")
