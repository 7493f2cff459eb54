from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from autorec_kernel.errors import DataError, UnknownNameError, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.genes import assemble_space, chosen_among, decode, offers
from autorec_kernel.space import Genotype, SearchSpace
from autorec_search.compare import compared, regrets, search, sign_test
from autorec_search.random_search import RandomSearch
from autorec_search.tabular import SPACE, TABLES, Row, Table, embedded

FREE = "cells/free-ranker"


@pytest.fixture(scope="module", params=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return Table.load(request.param)


@pytest.fixture(scope="module")
def invented() -> Table:
    values = np.random.default_rng(0).random(SPACE.size)  # type: ignore[arg-type]
    return Table(Row(cell, (value,), (0.5,), 1, 0.1, 0.1, "") for cell, value in zip(SPACE.points(), values.tolist(), strict=True))


@pytest.fixture
def full(kernel: Kernel, features_of: Callable[..., FeatureSet]) -> tuple[FeatureSet, SearchSpace]:
    features = features_of("click")
    found = chosen_among(kernel, offers(kernel, "click", features.schema, wanted=(FREE,)), (FREE,))
    return features, assemble_space(kernel, found, features.schema, "training/full")


def test_a_table_has_every_point_of_its_space_once(table: Table) -> None:
    points = list(table.space.points())
    assert 1000 <= len(points) == len(set(points)) == table.space.size <= 1300
    assert set(table.rows) == set(points)


def test_its_values_are_finite_and_possible(table: Table) -> None:
    for row in table.rows.values():
        assert all(0.4 < value < 1.0 for value in (*row.valid, *row.test))
        assert len(row.valid) == len(row.test) >= 1
        assert row.parameters > 0 and row.latency_ms > 0 and 0 < row.seconds <= 3.0


def test_it_answers_with_the_mean_of_the_trainings(table: Table) -> None:
    cell = table.space.default()
    row = table.row(cell)
    assert table(cell) == pytest.approx(np.mean(row.valid))
    assert table.test(cell) == pytest.approx(np.mean(row.test))
    assert table.best == max(np.mean(one.valid) for one in table.rows.values())
    assert table(dict(cell)) == table(cell)


def test_cells_differ_in_their_graphs_and_not_by_chance_alone(table: Table) -> None:
    """Learning rates apart, no two cells have one graph; what the trainings of a cell have in common is most of the variance."""
    assert len({row.graph for row in table.rows.values()}) == table.space.size / 2
    values = np.array([[np.mean(row.valid), np.mean(row.test)] for row in table.rows.values()])
    assert np.corrcoef(values.T)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"operation_1": "transformer"}, UsageError, "operation_1"),
        ({"depth": 3}, UnknownNameError, "depth"),
        ({"nodes": 1}, UsageError, "inactive"),
        ({"nodes": True}, UsageError, "nodes"),
    ],
)
def test_a_foreign_genotype_is_refused(change: dict[str, object], kind: type[Exception], told: str, invented: Table) -> None:
    cell = dict(SPACE.canonical({"nodes": 2})) | change
    with pytest.raises(kind, match=told):
        invented(cell)


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ml-10m"):
        Table.load("ml-10m")


def test_a_table_with_a_hole_or_a_double_is_refused() -> None:
    rows = [Row(cell, (0.5,), (0.5,), 1, 0.1, 0.1, "") for cell in SPACE.points()]
    strange = Genotype({"nodes": 3})
    for wrong in (rows[:-1], [*rows[:-1], rows[0]], [*rows, rows[0]], [*rows[:-1], replace(rows[0], cell=strange)]):
        with pytest.raises(DataError, match="every cell"):
            Table(wrong)
    assert Table(reversed(rows)).best == 0.5


@pytest.mark.parametrize("name", TABLES)
def test_the_files_are_small(name: str) -> None:
    assert len((files("autorec_search") / "tables" / f"{name}.csv.gz").read_bytes()) < 200_000


def test_every_cell_is_a_legal_point_of_the_assembled_space_and_builds(kernel: Kernel, full: tuple[FeatureSet, SearchSpace]) -> None:
    features, space = full
    meant = {cell: space.canonical(embedded(cell)) for cell in SPACE.points()}
    for cell, genotype in meant.items():
        assert {name: genotype[name] for name in embedded(cell)} == embedded(cell)  # no gene that a cell fixes is asleep
    graphs = {cell: decode(genotype, features.schema, kernel) for cell, genotype in list(meant.items())[::7]}
    assert all(candidate.blueprint == FREE for candidate in graphs.values())
    assert {candidate.training["learning_rate"] for candidate in graphs.values()} == {0.002, 0.005}
    drawn = [(graphs[cell].architecture.digest(), cell["learning_rate"]) for cell in graphs]
    assert len(set(drawn)) == len(drawn)


def test_a_search_of_a_table_is_repeated_exactly(table: Table, kernel: Kernel) -> None:
    for name in ("search/random", "evolution/evolution"):
        one, again = ([t.genotype for t in _search(kernel, name, table)] for _ in range(2))
        assert one == again and len(set(one)) == 40


def _search(kernel: Kernel, name: str, table: Table) -> list[object]:
    return search(kernel.create("search-strategy", name), table.space, lambda g: (table(g),), 40, seed=5)  # type: ignore[return-value]


def test_regret_is_what_is_missing_to_the_best_cell(invented: Table) -> None:
    random = RandomSearch(RandomSearch.Config())
    assert regrets(random, invented, SPACE.size, [0]) == [0.0]  # type: ignore[arg-type]
    few, many = regrets(random, invented, 10, range(10)), regrets(random, invented, 200, range(10))
    assert min(few) > 0 and compared(many, few).ratio < 0.3 and compared(many, few).p < 0.05


def test_a_sign_test_counts_coins() -> None:
    assert sign_test(10, 0) == pytest.approx(2 / 2**10)
    assert sign_test(8, 2) == sign_test(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert sign_test(5, 5) == sign_test(0, 0) == 1.0
    assert compared([0.0, 1.0], [0.0, 0.0]).ratio == math.inf and compared([0.0], [0.0]).ratio == 1.0
