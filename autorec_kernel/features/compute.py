"""Running fitted programs over entity tables and events, with a check of what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.records.bags import Bags, Values
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, take_column
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Fitted", "Sides", "compute", "entity_columns", "event_columns", "is_stored", "keep", "stored"]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One fitted op of a feature set: its features and the program that makes them, in the same order."""

    features: tuple[Feature, ...]
    program: Program

    def output(self, name: str) -> str:
        """Return the program output of a feature."""
        return self.program.outputs[[feature.name for feature in self.features].index(name)]


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """The side tables, one row a vocabulary row (row 0 = all missing), and the vocabularies they follow."""

    users: Table
    items: Table
    user_ids: Vocabulary
    item_ids: Vocabulary
    user: str = ""
    item: str = ""
    time: str = ""


def compute(fitted: Fitted, columns: Mapping[str, ColumnData], context: ReadContext) -> dict[str, np.ndarray]:
    """Return the values of the op's features.

    Raises:
        ContractError: A value has the wrong shape, type or range.
    """
    found = run_program(fitted.program, columns, context)
    return {f.name: _checked(f, found[out], context) for f, out in zip(fitted.features, fitted.program.outputs, strict=True)}


def is_stored(feature: Feature) -> bool:
    """Whether the values of event rows are kept; histories and pair features are computed when asked."""
    return feature.kind != "history" and feature.depends != "pair"


def stored(value: np.ndarray) -> np.ndarray:
    """Return a value as it is kept: int32 or float32."""
    return np.ascontiguousarray(value, dtype=np.int32 if value.dtype.kind == "i" else np.float32)


def keep(value: np.ndarray, feature: Feature) -> Values:
    """Return a value as the rows of a split or an entity keep it: a bag ragged, everything else as `stored`."""
    return Bags.of(value) if feature.kind == "bag" else stored(value)


def entity_columns(entity: str, names: Iterable[str], sides: Sides) -> tuple[dict[str, Any], int]:
    """Return the columns of every row of an entity, those of `names` that exist, and how many rows there are."""
    vocabulary, table, key = (sides.user_ids, sides.users, sides.user) if entity == "user" else (sides.item_ids, sides.items, sides.item)
    found: dict[str, Any] = {f"@{entity}": np.arange(vocabulary.size, dtype=np.int64)}
    if key in names:
        texts = np.array([*vocabulary.ids_of(np.arange(1, vocabulary.size)), None], dtype=object)[:-1]
        found[key] = Coded(np.arange(-1, vocabulary.size - 1, dtype=np.int32), texts)
    found |= {f"{entity}s.{name}": table[name] for name in table if f"{entity}s.{name}" in names}
    return found, vocabulary.size


def event_columns(names: Iterable[str], events: Table, sides: Sides) -> dict[str, ColumnData]:
    """Return the columns of events that a program reads; those of side tables follow the event's user and item."""
    found: dict[str, ColumnData] = {}
    for name in names:
        if name in events:
            found[name] = events[name]
        for prefix, table, key in (("users.", sides.users, "@user"), ("items.", sides.items, "@item")):
            if name.startswith(prefix) and name.removeprefix(prefix) in table:
                found[name] = take_column(table[name.removeprefix(prefix)], np.asarray(events[key]))
    return found


def _checked(feature: Feature, value: np.ndarray | Ragged, context: ReadContext) -> np.ndarray:
    where = f"feature {feature.name!r}"
    if isinstance(value, Ragged) or len(value) != context.rows:
        raise ContractError(f"its program gave {'a ragged value' if isinstance(value, Ragged) else f'{len(value)} rows'}", where=where)
    shape = {"id": (), "numeric": (feature.width,)}.get(feature.kind)
    if value.ndim != (1 if feature.kind == "id" else 2) or (shape and value.shape[1:] != shape):
        raise ContractError(f"its program gave shape {value.shape}; expected {feature.kind} of width {feature.width}", where=where)
    if (value.dtype.kind == "f") != (feature.kind == "numeric"):
        raise ContractError(f"its program gave {value.dtype} for kind {feature.kind!r}", where=where)
    if feature.kind != "numeric" and value.size and (value.min() < 0 or value.max() >= feature.size):
        raise ContractError(f"its program gave rows outside [0, {feature.size})", where=where)
    return value
