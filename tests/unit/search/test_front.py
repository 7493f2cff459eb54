from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.records.trial import Cost, Trial
from autorec_kernel.search.front import crowding, dominance_ranks, front_of, order_best_first
from autorec_kernel.space import Genotype

ROWS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.integers(-3, 3), min_size=width, max_size=width), min_size=1, max_size=12)
)


def beats(one: Any, other: Any) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


def peeled(rows: list[list[int]]) -> list[int]:
    """Return ranks by the definition: take away the rows that nothing left beats, again and again."""
    ranks, left, rank = {}, set(range(len(rows))), 0
    while left:
        free = {i for i in left if not any(beats(rows[j], rows[i]) for j in left)}
        ranks.update(dict.fromkeys(free, rank))
        left, rank = left - free, rank + 1
    return [ranks[i] for i in range(len(rows))]


def trial(number: int, *values: float, latency: float = 1.0, size: int = 1, status: Any = "complete") -> Trial:
    return Trial(number, Genotype(), status, tuple(values), cost=Cost(1, size, latency, 1.0))


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_ranks_are_those_of_peeling_off_the_undominated_rows(rows: list[list[int]]) -> None:
    assert dominance_ranks(np.array(rows, dtype=np.float64)).tolist() == peeled(rows)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=14))
def test_the_front_holds_what_no_other_trial_beats(rows: list[tuple[int, int, int]]) -> None:
    trials = [trial(number, value, latency=latency, size=size) for number, (value, latency, size) in enumerate(rows)]
    wanted = {i for i, row in enumerate(rows) if not any(beats((o[0], -o[1], -o[2]), (row[0], -row[1], -row[2])) for o in rows)}
    found = front_of(trials)
    assert {one.number for one in found} == wanted
    assert [(-one.value, one.number) for one in found] == sorted((-one.value, one.number) for one in found)


def test_crowding_is_infinite_at_the_ends_and_larger_where_neighbours_are_far() -> None:
    values = np.array([[0.0, 10.0], [1.0, 9.0], [2.0, 8.0], [6.0, 4.0], [10.0, 0.0]])
    assert crowding(values).tolist() == [np.inf, 0.4, 1.0, 1.6, np.inf]
    assert crowding(np.array([[1.0], [1.0], [1.0]])).tolist() == [np.inf, 0.0, np.inf]
    assert crowding(np.array([[1.0, 2.0]])).tolist() == [np.inf]


def test_order_is_by_rank_then_crowding_then_number() -> None:
    found = order_best_first([trial(0, 1, 9), trial(1, 4, 6), trial(2, 5, 5), trial(3, 9, 1), trial(4, 0, 0), trial(5, 3, 6)])
    assert [one.number for one in found] == [0, 3, 2, 1, 5, 4]


@given(st.lists(st.integers(0, 4), max_size=10))
def test_one_objective_orders_by_value_then_number(values: list[int]) -> None:
    trials = [trial(number, value) for number, value in enumerate(values)]
    expected = sorted(range(len(values)), key=lambda number: (-values[number], number))
    assert [one.number for one in order_best_first(trials[::-1])] == expected


def test_trials_without_objectives_are_in_no_order_and_on_no_front() -> None:
    assert order_best_first([trial(0)]) == [] and front_of([trial(0), trial(1, 1.0, status="stopped")]) == ()


@pytest.mark.parametrize("count", [3000])
def test_a_long_search_has_its_front_at_once(count: int) -> None:
    rng = np.random.default_rng(0)
    trials = [trial(i, *rng.random(1), latency=float(rng.random()), size=int(rng.integers(1000))) for i in range(count)]
    found = front_of(trials)
    assert 10 < len(found) < 300 and found[0].value == max(one.value for one in trials)
