"""What the operations share: the fitted op as a plain record, and how columns are named and paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.records.features import Depends, Feature
from autorec_kernel.records.program import Program
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import ColumnData, Table

__all__ = ["Fitted", "Source", "column_of", "depends_of", "entity_rows", "feature_columns", "input_name", "seconds"]

Source = str
_SECONDS_A_VALUE = 1e-7 / 3  # measured on 10^6 rows and one core; benchmarks/README.md has the ratios


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted operation.

    Args:
        outputs: Its features.
        made: The program, one output a feature.
        training: Feature name → values of training rows that differ from the program's.
        config: The options with what fitting decided written down; None = it decided nothing.
    """

    outputs: tuple[Feature, ...]
    made: Program
    training: Mapping[str, np.ndarray] = field(default_factory=dict)
    config: ComponentConfig | None = None

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return self.training or None


def feature_columns(profile: DataProfile, *kinds: str) -> Iterator[Column]:
    """Yield the feature columns of these kinds, in all tables."""
    for source in ("events", "users", "items"):
        yield from (column for column in profile.schema.features(source) if column.kind in kinds)


def input_name(column: str, source: str) -> str:
    """Return the name by which a program reads a column."""
    return column if source == "events" else f"{source}.{column}"


def depends_of(source: str) -> Depends:
    """Return what the values of a table's columns are a function of."""
    return {"users": "user", "items": "item"}.get(source, "row")  # type: ignore[return-value]


def column_of(column: str, source: str, events: Table, tables: Mapping[str, Table]) -> ColumnData:
    """Return a column of the training view.

    Raises:
        RejectColumn: It is not there.
    """
    table = events if source == "events" else tables[source]
    if column not in table:
        raise RejectColumn(f"there is no column {column!r} in the {source} table")
    return table[column]


def entity_rows(profile: DataProfile, source: str) -> int:
    """Return how many values a column of this table has."""
    return {"users": profile.users, "items": profile.items}.get(source, profile.rows)


def seconds(values: int, weight: float = 1.0) -> float:
    """Estimate the seconds that `values` values cost; `weight` 1 is one pass of numpy and one of text look-up."""
    return 0.001 / 6 + values * weight * _SECONDS_A_VALUE
