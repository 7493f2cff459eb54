from __future__ import annotations

import itertools

import numpy as np
import pytest

from autorec_kernel.space import Gene, Int, SearchSpace
from autorec_search.landscape import CELLS, Landscape


def test_the_cells_are_twelve_hundred() -> None:
    land = Landscape(0)
    assert CELLS.size == len(land.cells) == len(set(land.cells)) == 1200
    assert land.best == max(map(land, land.cells))


def test_a_seed_is_a_landscape() -> None:
    one, again, other = (np.array([land(cell) for cell in land.cells]) for land in (Landscape(1), Landscape(1), Landscape(2)))
    assert np.array_equal(one, again)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5
    assert (one.mean(), one.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def explained(land: Landscape, order: int) -> float:
    """Return the share of the variance that a linear model of all options (and, for order 2, of their pairs) explains."""
    rows = []
    for cell in land.cells:
        options = [f"{name}={cell.get(name)}" for name in land.space]
        rows.append(options + (["&".join(pair) for pair in itertools.combinations(options, 2)] if order == 2 else []))
    columns = {column: i for i, column in enumerate(sorted({column for row in rows for column in row}))}
    matrix = np.zeros((len(rows), len(columns)))
    for i, row in enumerate(rows):
        matrix[i, [columns[column] for column in row]] = 1.0
    values = np.array([land(cell) for cell in land.cells])
    return 1 - float(np.var(values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]) / np.var(values))


def test_genes_and_pairs_have_their_shares() -> None:
    assert explained(Landscape(3, pairs=0.0, rest=0.0), 1) == pytest.approx(1.0)
    assert explained(Landscape(3, pairs=0.4, rest=0.0), 2) == pytest.approx(1.0)
    rough = Landscape(3, pairs=0.35, rest=0.4)
    assert explained(rough, 1) < 0.85 * explained(rough, 2) < 0.85


def test_neighbouring_sizes_are_alike() -> None:
    land = Landscape(5, SearchSpace([Gene("a", Int(1, 20), 1), Gene("b", Int(1, 20), 1)]), pairs=0.0, rest=0.0)
    row = np.array([land(land.space.canonical({"a": a, "b": 1})) for a in range(1, 21)])
    assert np.abs(np.diff(row, 2)).max() < 0.2
