"""How one column becomes codes to cross: texts by a vocabulary, numbers by levels or quantiles, times by their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from autorec_kernel.contracts.features import DataProfile
from autorec_kernel.records.features import Depends
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Coded, ColumnData, Table
from autorec_kernel.records.vocabulary import Vocabulary, as_text

__all__ = ["Coding", "Rules", "candidate_names", "coded_column"]

_KINDS = ("categorical", "id", "numeric", "time")
_PARTS = {"hour": 24, "weekday": 7}
_SIDES = {"users.": ("users", "@user"), "items.": ("items", "@item")}
_FEW = 100  # users or items up to which their ids are categories like any other


@dataclass(frozen=True, slots=True)
class Rules:
    """How columns are coded.

    Args:
        bins: Most quantile bins of a number.
        levels: Different numbers up to which each is a category of its own.
        min_count: Training rows below which a category reads as unknown.
        entities: Names of the user and the item column, where they are columns to cross.
        edges: Column → bin edges that were learnt before; None = learn them.
    """

    bins: int
    levels: int
    min_count: int
    entities: Mapping[str, Depends] = field(default_factory=dict)
    edges: Mapping[str, tuple[float, ...]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """One coded column.

    Args:
        name: How crosses call it: `device`, `users.age`, `timestamp.hour`.
        step: Makes the codes from the column of the same name (without the part of the time).
        arrays: What the step reads.
        size: Codes, 0 = unknown included.
        depends: What the column is a function of.
        codes: int32 [n], of the training rows.
    """

    name: str
    step: Step
    arrays: Mapping[str, np.ndarray]
    size: int
    depends: Depends
    codes: np.ndarray

    @property
    def edges(self) -> tuple[float, ...] | None:
        """Return the edges of its bins, None where there are none."""
        return tuple(self.arrays[self.step.params["edges"]].tolist()) if self.step.op == "bucketize" else None

    @property
    def bytes(self) -> int:
        """Return the bytes that the step keeps."""
        return sum(array.nbytes for array in self.arrays.values())


def candidate_names(profile: DataProfile) -> Iterator[str]:
    """Yield the columns worth crossing: features of all tables that hold one value a row, parts of the event's time, ids if few."""
    for source in ("events", "users", "items"):
        for column in profile.schema.features(source):
            yield from _names(column)
    clock = profile.schema.role("time")
    if clock is not None and clock.kind == "time":
        yield from (f"{clock.name}.{part}" for part in _PARTS)
    for role, count in (("user", profile.users), ("item", profile.items)):
        entity = profile.schema.role(role)  # type: ignore[arg-type]
        if entity is not None and count <= _FEW:
            yield entity.name


def coded_column(name: str, events: Table, tables: Mapping[str, Table], rules: Rules) -> Coding | None:
    """Return a column's codes on the training rows; None where it is not there, holds lists or vectors, or does not vary."""
    column, part = _column(name, events, tables), ""
    if column is None and name.rpartition(".")[2] in _PARTS:
        base, _, part = name.rpartition(".")
        column = _column(base, events, tables)
    if not isinstance(column, Coded) and not (isinstance(column, np.ndarray) and column.ndim == 1):
        return None
    base = name.removesuffix(f".{part}") if part else name
    step, arrays, size = _step(name, base, part, column, rules)
    program = Program((base,), (step,), (step.output,), arrays)
    codes = np.asarray(run_program(program, {base: column}, ReadContext(len(column)))[step.output], dtype=np.int32)
    if (np.bincount(codes, minlength=size)[1:] > 0).sum() < 2:
        return None
    depends: Depends = rules.entities.get(name) or {"users.": "user", "items.": "item"}.get(name[:6], "row")  # type: ignore[assignment]
    return Coding(name, step, arrays, size, depends, codes)


def _names(column: Column) -> Iterator[str]:
    if column.kind not in _KINDS:
        return
    name = column.name if column.source == "events" else f"{column.source}.{column.name}"
    yield name
    if column.kind == "time":
        yield from (f"{name}.{part}" for part in _PARTS)


def _column(name: str, events: Table, tables: Mapping[str, Table]) -> ColumnData | None:
    source, entity = _SIDES.get(name[:6], ("", ""))
    table = tables.get(source)
    if table is None or name[6:] not in table:
        return events.get(name)
    rows, column = np.asarray(events[entity]) - 1, table[name[6:]]  # row -1, the unknown entity, reads what is put at the end
    if isinstance(column, Coded):
        return Coded(np.append(column.codes, -1).astype(np.int32)[rows], column.values)
    if isinstance(column, np.ndarray) and column.ndim == 1:
        missing = np.iinfo(np.int64).min if column.dtype.kind == "i" else np.nan
        return np.asarray(np.append(column, missing).astype(column.dtype)[rows])
    return None


def _step(name: str, base: str, part: str, column: Coded | np.ndarray, rules: Rules) -> tuple[Step, dict[str, np.ndarray], int]:
    output = f".code {name}"
    if part:
        return Step("calendar", (base,), output, {"part": part}), {}, _PARTS[part] + 1
    edges = None if isinstance(column, Coded) else _edges(name, column, rules)
    if edges is not None:
        return Step("bucketize", (base,), output, {"edges": f"edges {name}"}), {f"edges {name}": edges}, len(edges) + 2
    words = _vocabulary(column, rules.min_count)
    arrays = {f"words {name}.{half}": array for half, array in words.arrays().items()}
    return Step("lookup", (base,), output, {"vocabulary": f"words {name}"}), arrays, words.size


def _edges(name: str, column: np.ndarray, rules: Rules) -> np.ndarray | None:
    """Return the inner edges of quantile bins float64 [< bins]; None for numbers that are few enough to be categories."""
    if rules.edges is not None:
        return np.array(rules.edges[name]) if name in rules.edges else None
    known = column[column != np.iinfo(np.int64).min] if column.dtype.kind == "i" else column[np.isfinite(column)]
    if len(np.unique(known)) <= rules.levels:
        return None
    return np.unique(np.quantile(known.astype(np.float64), np.arange(1, rules.bins) / rules.bins))


def _vocabulary(column: Coded | np.ndarray, min_count: int) -> Vocabulary:
    coded = column if isinstance(column, Coded) else as_text(column)
    return Vocabulary.of(sorted(str(text) for text in coded.values[coded.counts() >= min_count]))
