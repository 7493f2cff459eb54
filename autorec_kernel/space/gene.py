"""`Gene`: one named choice of a search space and the condition under which it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autorec_kernel.errors import UsageError
from autorec_kernel.space.domain import Domain, Value, same_value
from autorec_kernel.space.domains import domain_from_json

__all__ = ["Gene"]


@dataclass(frozen=True, slots=True)
class Gene:
    """One choice.

    Args:
        name: Unique in its space.
        domain: The values it may take.
        default: A member of the domain.
        parent: Gene whose value decides whether this one is active; None for a root.
        when: Values of the parent for which this gene is active; not empty when there is a parent.

    Raises:
        UsageError: The default lies outside the domain, or `parent` and `when` are not given together.
    """

    name: str
    domain: Domain
    default: Value
    parent: str | None = None
    when: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        where = f"gene {self.name!r}"
        if not isinstance(self.name, str) or not self.name:
            raise UsageError(f"a gene's name is a non-empty string; got {self.name!r}")
        if not isinstance(self.domain, Domain):
            raise UsageError(f"a gene's domain is an Int, Float, Choice, Bool, Ints or Floats; got {self.domain!r}", where=where)
        try:
            object.__setattr__(self, "default", self.domain.cast(self.default))
        except UsageError as error:
            raise UsageError(f"the default {error.message}", hint=error.hint, where=where) from None
        object.__setattr__(self, "when", tuple(self.when))
        if (self.parent is None) != (not self.when):
            raise UsageError(f"`parent` and `when` go together; got parent={self.parent!r}, when={self.when!r}", where=where)

    def wakes(self, value: Value) -> bool:
        """Return whether the gene is active when its (active) parent has `value`."""
        return any(same_value(value, item) for item in self.when)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a root carries no condition."""
        told = {"name": self.name, "domain": self.domain.to_json(), "default": _listed(self.default)}
        return told if self.parent is None else {**told, "parent": self.parent, "when": [_listed(item) for item in self.when]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Gene:
        """Read what `to_json` wrote."""
        when = tuple(tuple(item) if isinstance(item, list) else item for item in value.get("when", ()))
        return cls(value["name"], domain_from_json(value["domain"]), value["default"], value.get("parent"), when)


def _listed(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
