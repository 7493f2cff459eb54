"""`Schema`: what every column of a data set is, and why the reader thinks so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["KINDS", "ROLES", "Column", "Kind", "Role", "Schema", "Source"]

Role = Literal["user", "item", "label", "time", "position", "session", "split", "feature", "ignore"]
Kind = Literal["id", "categorical", "multi", "numeric", "text", "vector", "time", "dated"]
Source = Literal["events", "users", "items"]
ROLES: tuple[str, ...] = ("user", "item", "label", "time", "position", "session", "split", "feature", "ignore")
KINDS: tuple[str, ...] = ("id", "categorical", "multi", "numeric", "text", "vector", "time", "dated")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its role on the road, the kind of its values, the table it lives in, and the reason shown to people."""

    name: str
    role: Role
    kind: Kind
    source: Source = "events"
    reason: str = ""
    missing: float = 0.0  # share of missing values, 0..1
    distinct: int = 0


@dataclass(frozen=True, slots=True)
class Schema:
    """All columns of a data set, in file order; several labels stand among themselves in the order in which they were named."""

    columns: tuple[Column, ...] = ()

    def role(self, role: Role) -> Column | None:
        """Return the event column that plays `role`, or None."""
        return next((c for c in self.columns if c.role == role and c.source == "events"), None)

    @property
    def labels(self) -> tuple[Column, ...]:
        """Return the label columns: the primary one, which the protocol and the run's metric are about, then the further tasks.

        The kind of a further one says what it holds: `categorical` 0 and 1, `numeric` numbers.
        """
        return tuple(c for c in self.columns if c.role == "label" and c.source == "events")

    def features(self, source: Source) -> tuple[Column, ...]:
        """Return the feature columns of one table."""
        return tuple(c for c in self.columns if c.role == "feature" and c.source == source)

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, values: list[Mapping[str, Any]]) -> Schema:
        """Read what `to_json` wrote."""
        return cls(tuple(Column(**value) for value in values))
