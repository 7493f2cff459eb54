"""Sorted entries of as-of tables: whatever is joined equals what sorting all events at once gives."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.entries import by_key_and_time, totals


def events(rng: np.random.Generator, rows: int, start: int, width: int = 0) -> dict[str, np.ndarray]:
    shape = (rows, width) if width else (rows,)
    keys, clock = rng.integers(0, 7, shape), np.sort(rng.integers(start, start + 12, rows))
    label = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows))
    return {"@user": keys, "@clock": clock, "label": label, "@item": rng.integers(1, 99, rows), "@positive": rng.integers(0, 2, rows)}


def both(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([column, second[name]]) for name, column in first.items()}


def tables(seen: dict[str, np.ndarray]) -> list[AsOfTable]:
    measures = (Measure(), Measure("label"), Measure("label", count=False))
    return [
        AsOfTable.sums(seen, 7, key="@user", measures=measures),
        AsOfTable.sums(seen, 7, key="@user", measures=measures, where="@positive"),
        AsOfTable.sequence(seen, 7, time="@clock"),
    ]


@pytest.mark.parametrize("width", [0, 3])
@pytest.mark.parametrize("later", [12, 5, -3])  # after all that is there, partly before it, and mostly before it
def test_what_is_folded_in_lies_where_sorting_everything_puts_it(width: int, later: int) -> None:
    rng = np.random.default_rng(later + width + 3)
    first, second = events(rng, 60, 0, width), events(rng, 30, later, width)
    for folded, at_once in zip([table.fold(second) for table in tables(first)], tables(both(first, second)), strict=True):
        for name, array in at_once.arrays().items():
            assert array.dtype == folded.arrays()[name].dtype
            assert np.array_equal(array, folded.arrays()[name])


def test_totals_run_inside_every_key_alone() -> None:
    offsets, rows = np.array([0, 0, 3, 3, 5]), np.array([4, 1, 2, 0, 3])
    found = totals([np.array([1, 10, 100, 1000, 10000])], rows, offsets, 1)
    assert found[:, 0].tolist() == [10000, 10010, 10110, 1, 1001]


def test_order_is_that_of_key_and_time_and_of_arrival_where_they_tie() -> None:
    rng = np.random.default_rng(0)
    keys, times, rows = rng.integers(0, 1 << 18, 3000), rng.integers(0, 4, 1500), np.repeat(np.arange(1500), 2)
    expected = sorted(range(3000), key=lambda entry: (keys[entry], times[rows[entry]], entry))
    assert by_key_and_time(keys, times, rows).tolist() == expected
    assert by_key_and_time(keys, np.sort(times), rows).tolist() == sorted(range(3000), key=lambda e: (keys[e], np.sort(times)[rows[e]], e))
