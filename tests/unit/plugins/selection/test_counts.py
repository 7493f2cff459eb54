"""Tables of counts: statistics against loops, shuffled copies, bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from autorec_selection.contingency import classes_of, entropy_of, g_statistic, one_hot, pair_statistics, tail
from autorec_selection.sample import Target
from autorec_selection.shuffle import shuffled
from autorec_selection.views import View


def information(*columns: np.ndarray) -> float:
    """Return the information of the last column and all others together, in nats, cell by cell."""
    *given, labels = columns
    rows = len(labels)
    total = 0.0
    cells = set(zip(*(c.tolist() for c in columns), strict=True))
    for cell in cells:
        inside = np.ones(rows, bool)
        for column, value in zip(given, cell[:-1], strict=True):
            inside &= column == value
        both = inside & (labels == cell[-1])
        total += both.mean() * math.log(both.mean() / (inside.mean() * (labels == cell[-1]).mean()))
    return total


@pytest.fixture
def columns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, 400), rng.integers(0, 2, 400)
    return first, second, ((first == 1) ^ (second == 1) ^ (rng.random(400) < 0.2)).astype(np.int64)


def test_the_statistic_is_twice_the_rows_times_the_information(columns: tuple[np.ndarray, ...]) -> None:
    first, _, labels = columns
    statistic, freedom = g_statistic(first, 5, labels, 2)  # codes 3 and 4 do not occur
    assert statistic == pytest.approx(2 * 400 * information(first, labels)) and freedom == 2


def test_pairs_count_what_two_columns_tell_beyond_each(columns: tuple[np.ndarray, ...]) -> None:
    first, second, labels = columns
    views = [View("a", "values", first.astype(np.int32), 3), View("b", "values", second.astype(np.int32), 2)]
    flags, starts = one_hot(views, np.arange(400))
    found = pair_statistics(flags, flags, starts, labels, 2)
    beyond = information(first, second, labels) - information(first, labels) - information(second, labels)
    assert found[0, 1] == pytest.approx(800 * beyond) and found[1, 0] == pytest.approx(found[0, 1])


def test_the_entropy_of_a_fair_coin_is_log_two() -> None:
    assert entropy_of(np.array([0, 1, 1, 0]), 2) == pytest.approx(math.log(2))


def test_tails_are_those_of_chi_square_and_go_on_where_floats_end() -> None:
    assert tail(12.0, 3, 1.0) == pytest.approx(-math.log10(chi2.sf(12.0, 3)))
    assert tail(24.0, 3, 2.0) == pytest.approx(tail(12.0, 3, 1.0))
    far = [float(tail(x, 4, 1.0)) for x in (1300.0, 1500.0, 3000.0, 1e6)]
    assert far == sorted(far) and far[-1] == pytest.approx(1e6 / 2 / math.log(10), rel=1e-3)


def test_numbers_become_classes_of_equal_weight_and_unknown_labels_none() -> None:
    values = np.array([0.1, 5.0, 2.0, np.nan, 3.0, 9.0, 7.0, 1.0, 4.0], np.float32)
    codes, size = classes_of(Target("y", "value", values), 4)
    assert size == 4 and codes[3] == -1 and np.bincount(codes[codes >= 0]).tolist() == [2, 2, 2, 2]
    codes, size = classes_of(Target("y", "logit", np.array([1, 0, np.nan, 1], np.float32)))
    assert size == 2 and codes.tolist() == [1, 0, -1, 1]


def test_a_shuffled_copy_moves_whole_groups_and_forgets_places_in_them() -> None:
    groups = np.repeat(np.arange(50), 20)
    values = groups * 7 % 50
    take = shuffled(groups, 1000, np.random.default_rng(0))
    assert sorted(take.tolist()) == list(range(1000))
    copy = values[take].reshape(50, 20)
    assert all(len(set(row.tolist())) == 1 for row in copy)  # groups of equal size take over each other's values
    assert (copy[:, 0] != values.reshape(50, 20)[:, 0]).mean() > 0.8
    place = np.tile(np.arange(20), 50)
    assert (place[take] == place).mean() < 0.3
    alone = shuffled(None, 1000, np.random.default_rng(0))
    assert (
        sorted(alone.tolist()) == list(range(1000)) and (values[alone].reshape(50, 20)[:, 0] != values[alone].reshape(50, 20)[:, 1]).any()
    )
