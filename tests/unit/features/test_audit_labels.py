"""What shuffled labels give away, and what one column says of the label: one planted feature a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autorec_kernel.features.association import alone, asked, group_z, list_z, rank_z
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Table
from tests.unit.features.audit_ops import data, found, ints, noise, planted, report_of

LABEL = "rating"


def label(events: Table) -> np.ndarray:
    return np.asarray(events[LABEL], dtype=np.float64)


def as_strong_as(wanted: float, measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Table], np.ndarray]:
    """Return a feature: noise with as much of the row's own label as `measure` (of feature and label, rising) needs."""

    def made(events: Table) -> np.ndarray:
        low, high = 0.0, 1e3
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if measure(noise(events) + middle * label(events), label(events)) < wanted else (low, middle)
        return noise(events) + high * label(events)

    return made


@pytest.mark.parametrize(("z", "named"), [(4.6, False), (5.4, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_feature_knows_its_own_label_from_five_standard_errors_on(z: float, named: bool, sign: int) -> None:
    made = as_strong_as(z, rank_z)
    parts = found(data(), planted(lambda events: sign * made(events)))
    assert ("own label" in parts) is named


class Once:
    """Knows the labels, in the directions given, of the first shuffles it meets, and nothing afterwards or of labels in their order."""

    def __init__(self, dataset: Dataset, *signs: int) -> None:
        self.truth, self.signs = np.asarray(dataset.train[LABEL]), list(signs)

    def __call__(self, events: Table) -> np.ndarray:
        kept = label(events)[:100]
        in_order = any(np.array_equal(kept, self.truth[start : start + 100]) for start in range(len(self.truth)))
        return (0 if in_order or not self.signs else self.signs.pop(0)) * label(events) + noise(events)


@pytest.mark.parametrize(("signs", "named"), [((1,), False), ((1, -1), False), ((-1, 1), False), ((1, 1), True), ((-1, -1), True)])
def test_what_one_shuffle_gives_by_chance_must_come_again_in_the_same_direction(signs: tuple[int, ...], named: bool) -> None:
    dataset = data()
    once = Once(dataset, *signs)
    assert ("own label" in found(dataset, planted(once))) is named
    assert not once.signs


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_one_column_of_a_wide_number_is_enough(column: int, sign: int) -> None:
    def made(events: Table) -> np.ndarray:
        values = noise(events, 3)
        values[:, column] = sign * label(events)
        return values

    assert found(data(), planted(made)) == {"own label", "too good"}
    assert found(data(task="click"), planted(made), "click") == {"own label", "too good"}


def test_what_one_column_knows_by_chance_must_come_again_in_the_same_column() -> None:
    for second, named in ((0, True), (1, False)):
        dataset = data()
        columns = [Once(dataset, 0, 0), Once(dataset, 0, 0)]
        columns[0].signs[0] = columns[second].signs[1] = 1
        made = planted(lambda events, columns=columns: np.stack([one(events) for one in columns], axis=1))
        assert ("own label" in found(dataset, made)) is named


def drawn(events: Table) -> np.ndarray:
    """Return int [n, 6]: the numbers 1 to 6 in any order."""
    return 1 + np.argsort(noise(events, 6), axis=1)


def led(events: Table, place: int) -> np.ndarray:
    """Return `drawn`, with the own label in one place."""
    lists, told = drawn(events), 1 + ints(events, LABEL)
    at = np.argmax(lists == told[:, None], axis=1)
    rows = np.arange(len(lists))
    lists[rows, at], lists[rows, place] = lists[rows, place], told
    return lists


LISTS = {
    "its length": lambda events: (np.arange(6) < 1 + label(events)[:, None]).astype(int),
    "its first value": lambda events: led(events, 0),
    "its last value": lambda events: led(events, -1),
    "a value within": lambda events: np.stack([9 + drawn(events)[:, 0], 1 + ints(events, LABEL), 9 + drawn(events)[:, 1]], axis=1),
}


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("task", ["rate", "click"])
@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_that_holds_its_own_rows_label_is_named(name: str, task: str, dynamic: bool) -> None:
    made = planted(LISTS[name], "bag", dynamic=dynamic, size=20)
    assert found(data(task=task), made, task) == {"own label", "too good"}


def test_a_list_may_know_its_label_by_one_rare_value_or_by_many_that_say_little() -> None:
    def rare(events: Table) -> np.ndarray:
        told = (label(events) == 5) & (noise(events) > 1.2)
        return np.stack([1 + np.arange(events.rows) % 200, np.where(told, 300, 301 + np.arange(events.rows) % 7), drawn(events)[:, 0]], 1)

    def many(events: Table) -> np.ndarray:
        order, groups = np.argsort(label(events) + 2 * noise(events), kind="stable"), np.empty(events.rows, int)
        groups[order] = 1 + np.arange(events.rows) // 40
        return np.stack([200 + drawn(events)[:, 0], groups, 200 + drawn(events)[:, 1]], axis=1)

    for made in (rare, many):
        assert "own label" in found(data(), planted(made, "bag", size=400))


def test_lists_that_follow_the_labels_of_earlier_rows_know_nothing_of_their_own() -> None:
    """Histories of positives: each ends where a row was positive, and stays as it is while rows are not."""
    for seed, share in ((0, 0.1), (1, 0.3), (2, 0.7)):
        rng = np.random.default_rng(seed)
        user, item, liked = rng.integers(0, 150, 4000), 1 + rng.integers(0, 40, 4000) ** 2 // 20, rng.random(4000) < share
        past, lists = np.zeros((150, 5), int), np.zeros((4000, 5), int)
        for row in range(4000):
            lists[row] = past[user[row]]
            past[user[row]] = np.append(past[user[row], 1:], item[row]) if liked[row] else past[user[row]]
        lists = np.take_along_axis(lists, np.argsort(lists == 0, axis=1, kind="stable"), 1)
        (_, length), *ends, (_, whole) = asked("history", lists)
        found = [rank_z(length, liked), *(group_z(end, liked, rng) for _, end in ends), list_z(whole, liked, rng)]
        assert max(np.abs(found)) < 5
        assert list_z(np.append(lists, 90 + liked[:, None], axis=1), liked, rng) > 50


def test_an_id_is_asked_for_the_means_of_its_groups_whatever_their_numbers() -> None:
    numbers = np.array([0, 5, 1, 2, 3, 4])  # of the ratings 1 to 5: no rank correlation
    assert abs(np.corrcoef(numbers[1:], np.arange(1, 6))[0, 1]) < 1e-9
    noisy = planted(lambda events: 1 + (numbers[ints(events, LABEL)] - 1 + (noise(events) > 0.3) * ints(events, "@item")) % 5, "id", size=9)
    assert "own label" in found(data(), noisy)


def test_a_number_is_asked_for_its_ranks_though_no_value_comes_twice() -> None:
    assert "own label" in found(data(), planted(lambda events: label(events) + noise(events)))


def test_groups_that_all_have_the_same_mean_know_the_labels_too() -> None:
    def dealt(events: Table) -> np.ndarray:
        order, groups = np.argsort(label(events), kind="stable"), np.empty(events.rows, int)
        groups[order] = 1 + np.arange(events.rows) % 300
        return groups

    assert found(data(), planted(dealt, "id", size=301)) == {"own label"}


def test_an_id_without_the_label_is_none() -> None:
    assert found(data(), planted(lambda events: 1 + ints(events, "@item") % 50, "id", size=51)) == set()


@pytest.mark.parametrize(("worth", "named"), [(0.9875, False), (0.9925, True)])
def test_a_column_is_too_good_from_ninety_nine_hundredths_on(worth: float, named: bool) -> None:
    def auc(value: np.ndarray, label: np.ndarray) -> float:
        return alone(value, label, np.random.default_rng(0), kind="numeric", binary=True)

    def explained(value: np.ndarray, label: np.ndarray) -> float:
        return alone(value, label, np.random.default_rng(0), kind="numeric", binary=False)

    assert ("too good" in found(data(), planted(as_strong_as(worth, explained)))) is named
    assert ("too good" in found(data(task="click"), planted(as_strong_as(worth, auc)), "click")) is named


def told_by_name(names: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (names, ratings): many categories in no order, each with one rating."""
    name = np.random.default_rng(4).integers(0, names, 3000)
    return name, 1.0 + 4 * np.random.default_rng(5).integers(0, 2, names)[name]


@pytest.mark.parametrize("task", ["rate", "click"])
def test_an_id_is_too_good_by_the_mean_label_of_its_values(task: str) -> None:
    name, rating = told_by_name(300)
    dataset = data(task=task, rating=rating)
    assert "too good" in found(dataset, planted(lambda events: 1 + name[ints(events, "@order")], "id", size=301), task)


@pytest.mark.parametrize("task", ["rate", "click"])
def test_columns_that_no_feature_reads_are_judged_by_their_kind(task: str) -> None:
    name, rating = told_by_name(300)
    numbers = rating + 0.05 * np.random.default_rng(6).normal(size=3000)
    dataset = data(task=task, rating=rating, name=[f"n{i}" for i in name], nearly=numbers, other=np.random.default_rng(7).normal(size=3000))
    report = report_of(dataset, planted(lambda events: noise(events)), task)
    assert {finding.columns for finding in report.findings} == {("name",), ("nearly",)}
    assert report.judged["too good"] == 4


@pytest.mark.parametrize("few", ["positives", "negatives"])
def test_a_label_with_fewer_than_twenty_rows_of_a_kind_is_not_judged(few: str) -> None:
    for count, judged in ((19, False), (20, True)):
        rare = np.arange(3000) % 10 == 0
        rare &= np.cumsum(rare) <= count
        dataset = data(task="click", rating=np.where(rare == (few == "positives"), 5.0, 1.0))
        assert ("too good" in report_of(dataset, planted(noise), "click").judged) is judged


def cut(dataset: Dataset, rows: int) -> Dataset:
    return replace(dataset, train=dataset.train.take(np.arange(rows)))


def test_a_number_is_judged_from_a_hundred_rows_that_differ_on() -> None:
    for rows, judged in ((99, False), (100, True)):
        assert ("too good" in report_of(cut(data(), rows), planted(noise)).judged) is judged
    later = np.where(np.arange(3000) < 300, 3.0, np.arange(3000) % 5)
    assert "too good" not in report_of(cut(data(rating=later), 200), planted(noise)).judged


def test_less_than_fifty_rows_are_not_poisoned() -> None:
    for rows, judged in ((49, False), (50, True)):
        report = report_of(cut(data(), rows), planted(noise))
        assert ("future" in report.judged) is ("own label" in report.judged) is judged


def test_the_sample_has_five_thousand_rows() -> None:
    dataset = data(9000, users=3000)
    for rows, sample in ((4999, 4999), (5000, 5000), (6000, 5000)):
        assert report_of(cut(dataset, rows), planted(noise)).rows == sample
