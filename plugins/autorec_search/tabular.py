"""A tabular benchmark: a fixed subspace of the free ranker with every cell trained, so that strategies are compared in seconds."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import TextIOWrapper
from typing import Any

from autorec_kernel.errors import DataError, UnknownNameError
from autorec_kernel.space import Bool, Choice, Gene, Genotype, Int, SearchSpace

__all__ = ["SPACE", "TABLES", "Row", "Table", "embedded"]

TABLES = ("ml-100k", "ml-latest-small")

_BLUEPRINT, _TRAINING, _STEPS = "cells/free-ranker", "ranker.training", "history & candidate"

SPACE = SearchSpace(
    [
        Gene("nodes", Int(1, 2), 1),
        Gene("operation_1", Choice("mlp", "fm", "cross", "pooling"), "mlp"),
        Gene("inputs_1", Choice("fields", "flat", _STEPS), "fields", "operation_1", ("mlp", "fm", "cross")),
        Gene("operation_2", Choice("mlp", "cross", "gate"), "mlp", "nodes", (2,)),
        Gene("left_2", Choice("1", "flat"), "1", "nodes", (2,)),
        Gene("connection_2", Choice("plain", "skip"), "plain", "nodes", (2,)),
        Gene("embedding", Choice(4, 16), 16),
        Gene("first_order", Bool(), True),
        Gene("learning_rate", Choice(0.002, 0.005), 0.002),
    ]
)  # 2 * 2 * 2 * (3 * 3 + 1) * (1 + 3 * 2 * 2) = 1,040 cells


def embedded(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the genes of the assembled search space that a cell fixes; all others have their defaults there.

    The factorization machine keeps a number a dimension (`reduce` off), so that a node can read it; histories are ten steps long, and
    pooling reads nothing else.
    """
    left, _, right = str(cell.get("inputs_1", _STEPS)).partition(" & ")
    options = {"nodes": cell["nodes"], "operation_1": cell["operation_1"], "left_1": left, "right_1": right or "none"}
    options |= {name: cell[name] for name in ("operation_2", "left_2", "connection_2") if name in cell}
    options |= {f"{group}_dim": cell["embedding"] for group in ("small", "medium", "large")}
    options |= {"first_order": cell["first_order"], "length": 10}
    options |= {"reduce_1": False} if cell["operation_1"] == "fm" else {}
    training = {"batch_size": 512, "learning_rate": cell["learning_rate"]}
    return {
        "pipeline": "ranker",
        "ranker": _BLUEPRINT,
        **{f"{_BLUEPRINT}.{name}": value for name, value in options.items()},
        **{f"{_TRAINING}.{name}": value for name, value in training.items()},
    }


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a cell.

    Args:
        valid, test: AUC of the rows of each part, one a training; the trainings differ in their seed.
        parameters: Weights and table entries.
        latency_ms: Of one row, predicted by the kernel's default device profile.
        seconds: CPU time of a training, of all trainings the shortest.
        graph: Digest of the architecture.
    """

    cell: Genotype
    valid: tuple[float, ...]
    test: tuple[float, ...]
    parameters: int
    latency_ms: float
    seconds: float
    graph: str


class Table:
    """Every cell of `SPACE` trained on one data set; called with a genotype, it returns the mean validation AUC.

    Args:
        rows: One for every cell, in any order.

    Raises:
        DataError: A cell is missing, is there twice, or is no cell.
    """

    space = SPACE

    def __init__(self, rows: Iterable[Row]) -> None:
        found = list(rows)
        self.rows: dict[Genotype, Row] = {row.cell: row for row in found}
        if len(found) != self.space.size or not all(map(self.space.admits, self.rows)) or len(self.rows) != len(found):
            raise DataError(f"a table has every cell of its space once: {self.space.size} cells, and {len(found)} rows were given")
        self.best: float = max(map(self, self.rows))

    @classmethod
    def load(cls, name: str) -> Table:
        """Read a table that is part of this package.

        Raises:
            UnknownNameError: There is no such table.
        """
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
        with (files("autorec_search") / "tables" / f"{name}.csv.gz").open("rb") as raw, gzip.open(raw) as plain:
            return cls(_read(TextIOWrapper(plain, "utf-8", newline="")))

    def __call__(self, genotype: Mapping[str, Any]) -> float:
        """Return the validation AUC of a cell, the mean of its trainings."""
        return _mean(self.row(genotype).valid)

    def test(self, genotype: Mapping[str, Any]) -> float:
        """Return the test AUC of a cell, the mean of its trainings; a search must not see it."""
        return _mean(self.row(genotype).test)

    def row(self, genotype: Mapping[str, Any]) -> Row:
        """Return all that is known of a cell.

        Raises:
            UnknownNameError: It has a gene that the space has not.
            UsageError: It is no canonical point of the space.
        """
        found = self.rows.get(genotype) if isinstance(genotype, Genotype) else None
        if found is None:
            self.space.check(genotype)
            found = self.rows[self.space.canonical(genotype)]
        return found


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


def _read(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of a file whose columns are the genes, `valid_0`, `test_0` and so on, and those of `Row`."""
    texts = {name: {str(value): value for value in gene.domain.values()} for name, gene in SPACE.items()}
    for line in csv.DictReader(lines):
        cell = Genotype({name: known[line[name]] for name, known in texts.items() if line[name]})
        valid, test = (tuple(float(line[name]) for name in line if name.startswith(f"{part}_")) for part in ("valid", "test"))
        costs = float(line["latency_ms"]), float(line["seconds"])
        yield Row(cell, valid, test, int(line["parameters"]), *costs, line["graph"])
