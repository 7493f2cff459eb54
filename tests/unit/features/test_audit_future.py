"""What the poison of later events gives away, and what may change with it: one planted feature a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features.compare import affine, alike, monotone, recut, renamed
from autorec_kernel.features.sample import later, reordered
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Coded, Table
from tests.unit.features.audit_ops import commonest, data, found, ints, mixed, noise, place, planted, report_of


def between(events: Table, start: float, end: float) -> np.ndarray:
    return np.asarray((place(events) >= start) & (place(events) < end))


def positive(events: Table) -> np.ndarray:
    return np.abs(noise(events)) + 0.1


LAST = (0.8, 1.01)


def test_a_number_that_follows_who_meets_what_later_is_found_though_it_keeps_its_order() -> None:
    assert found(data(), planted(lambda events: positive(events) ** (1 + mixed(events, between(events, *LAST))))) == {"future"}


def test_a_finding_says_what_the_poison_was() -> None:
    pairs = planted(lambda events: positive(events) ** (1 + mixed(events, between(events, *LAST))))
    count = planted(lambda events: np.sin(positive(events) * commonest(events, between(events, 0, 1))))
    for made, told in ((pairs, "when later rows get other values"), (count, "when later rows belong to other users and items")):
        (finding,) = report_of(data(), made).findings
        assert finding.text == f"feature 'planted' reads the future: its values on earlier rows change {told}"


def test_a_number_whose_unit_follows_the_training_view_is_none() -> None:
    def scaled(events: Table) -> np.ndarray:
        return positive(events) * (1 + mixed(events, between(events, *LAST))) - 3 * mixed(events, between(events, *LAST))

    assert found(data(), planted(scaled)) == set()


def test_a_number_may_be_bent_by_what_is_frequent_and_may_not_change_its_order() -> None:
    bent = planted(lambda events: positive(events) ** (1 + commonest(events, between(events, 0, 1)) / 100))
    assert found(data(), bent) == set()
    turned = planted(lambda events: np.sin(positive(events) * commonest(events, between(events, 0, 1))))
    assert found(data(), turned) == {"future"}


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("last", [True, False])
def test_one_column_of_a_number_is_enough(width: int, last: bool) -> None:
    def made(events: Table) -> np.ndarray:
        values = noise(events, width).reshape(-1, width)
        column = -1 if last else 0
        values[:, column] += 3 * mixed(events, between(events, *LAST)) * noise(events, seed=8)
        return values

    assert found(data(), planted(made)) == {"future"}


@pytest.mark.parametrize("dynamic", [True, False])
def test_rows_up_to_the_last_fifth_are_compared_and_the_whole_fifth_is_changed(dynamic: bool) -> None:
    def ahead(events: Table) -> np.ndarray:
        told = mixed(events, between(events, 0.8, 0.88)) * noise(events, seed=8)
        return np.where(between(events, 0.72, 0.8), noise(events) + told, 0.0)

    assert found(data(), planted(ahead, dynamic=dynamic)) == {"future"}


def test_a_flood_fills_the_last_twentieth_and_rows_up_to_it_are_compared() -> None:
    def ahead(events: Table) -> np.ndarray:
        return np.where(between(events, 0.9, 0.95), noise(events) * commonest(events, between(events, 0.95, 0.985)), 0.0)

    assert found(data(), planted(ahead, dynamic=True)) == {"future"}


def test_where_only_the_order_of_a_user_is_known_the_later_half_of_each_user_is_changed() -> None:
    def own_place(events: Table) -> np.ndarray:
        users = ints(events, "@user")
        before = np.array([np.count_nonzero(users[:row] == user) for row, user in enumerate(users)])
        return before / np.bincount(users)[users]

    def ahead(events: Table) -> np.ndarray:
        at = own_place(events)
        return np.where((at >= 0.3) & (at < 0.5), noise(events) * mixed(events, (at >= 0.5) & (at < 0.7)), 0.0)

    dataset = data(1500, "recommend", clock="position")
    assert found(dataset, planted(ahead, depends="user", dynamic=True), "recommend") == {"future"}


def own_next(events: Table, values: np.ndarray) -> np.ndarray:
    """Return what the next event of the same user has; 0 where there is none."""
    order = np.argsort(ints(events, "@user"), kind="stable")
    users, told = ints(events, "@user")[order], np.zeros_like(values)
    told[order[:-1]] = np.where(users[1:] == users[:-1], values[order][1:], 0)
    return told


NEXT = {
    "id": lambda events: own_next(events, ints(events, "@item")),
    "bag": lambda events: own_next(events, ints(events, "@item"))[:, None],
    "numeric": lambda events: own_next(events, noise(events)) + np.sin(own_next(events, ints(events, "@item"))),
}


@pytest.mark.parametrize("depends", ["user", "pair", "row"])
@pytest.mark.parametrize("kind", sorted(NEXT))
def test_what_a_user_does_next_is_found_by_position_whatever_the_feature_says_it_depends_on(kind: str, depends: str) -> None:
    dataset = data(1500, "click", clock="position")
    (finding,) = report_of(dataset, planted(NEXT[kind], kind, depends, dynamic=True, size=200), "click").findings
    assert finding.kind == "future" and (depends == "user" or finding.text.endswith("when later rows of its user change places"))


def test_by_position_the_events_of_other_users_may_be_read_all_and_in_their_order() -> None:
    def others(events: Table) -> np.ndarray:
        """Return what mostly comes after the row's item, and how often it is met, among users of another kind."""
        users, items, after = ints(events, "@user"), ints(events, "@item"), own_next(events, ints(events, "@item"))
        told = np.zeros((events.rows, 2))
        for row in range(events.rows):
            met = (items == items[row]) & (users % 5 != users[row] % 5)
            told[row] = after[met].sum(), met.sum()
        return told

    dataset = data(1500, "click", clock="position")
    report = report_of(dataset, planted(others, depends="pair", dynamic=True), "click")
    assert report.judged["future"] == 1 and report.not_reached == report.findings == []
    assert found(dataset, planted(others, depends="user", dynamic=True), "click") == {"future"}, "it tells of its user alone, it says"


def test_events_of_a_user_take_each_others_places_as_they_are() -> None:
    dataset = data(1500, "click", clock="position")
    late = later(dataset, 0.5)
    changed = reordered(dataset, late, np.random.default_rng(0))

    def rows(one: Dataset, name: str) -> np.ndarray:
        column = one.train[name]
        return column.text() if isinstance(column, Coded) else np.asarray(column)

    assert np.array_equal(rows(dataset, "user_id"), rows(changed, "user_id"))
    assert np.array_equal(rows(dataset, "item_id")[~late], rows(changed, "item_id")[~late])
    assert np.mean(rows(dataset, "item_id")[late] != rows(changed, "item_id")[late]) > 0.5
    events = [
        sorted(zip(*(rows(one, name).tolist() for name in ("user_id", "item_id", "rating")), strict=True)) for one in (dataset, changed)
    ]
    assert events[0] == events[1]


def by_item(events: Table, values: np.ndarray) -> np.ndarray:
    return np.asarray(values)[ints(events, "@item")]


def counts(events: Table) -> np.ndarray:
    return np.bincount(ints(events, "@item"))


def row_numbers(kept: np.ndarray, other: int) -> np.ndarray:
    """Return rows of a vocabulary that lists `kept` (bool [n]) and has the row `other` for the rest."""
    return np.where(kept, 1 + other + np.cumsum(kept), other)


def cut(values: np.ndarray, by: np.ndarray, bins: int) -> np.ndarray:
    """Return the quantile bin, from 1 on, that the distribution `by` gives each value."""
    return np.asarray(1 + np.searchsorted(np.quantile(by, np.arange(1, bins) / bins), values))


PRICE = np.arange(500) * 37 % 83
HONEST = {
    "numbered anew by what is frequent": lambda events: 1 + np.argsort(np.argsort(counts(events), kind="stable")),
    "too rare, and so unknown": lambda events: row_numbers(counts(events) >= np.median(counts(events)), 0),
    "too rare, with a row of its own": lambda events: row_numbers(counts(events) >= np.median(counts(events)), 1),
    "bins of a number whose edges follow the rows": lambda events: cut(PRICE[: len(counts(events))], by_item(events, PRICE), 5),
}
COUNTED = {
    "powers of two": lambda events: 1 + np.log2(np.maximum(counts(events), 1)).astype(int),
    "quantiles": lambda events: cut(counts(events), counts(events), 10),
    "popular or not": lambda events: cut(counts(events), counts(events), 2),
    "three classes": lambda events: cut(counts(events), counts(events), 3),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(HONEST))
def test_vocabularies_and_bins_may_follow_what_is_frequent(name: str, seed: int) -> None:
    dataset = data(clock="time")
    assert found(dataset, planted(HONEST[name], "id", "item"), seed=seed) == set()
    assert "planted" not in report_of(dataset, planted(HONEST[name], "id", "item"), seed=seed).not_reached


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(COUNTED))
def test_a_category_that_bins_the_events_of_the_whole_table_is_found(name: str, seed: int) -> None:
    assert found(data(), planted(COUNTED[name], "id", "item", size=40), seed=seed) == {"future"}
    assert found(data(), planted(COUNTED[name], "id", "item"), seed=seed) == {"future"}


def test_the_same_bins_of_two_columns_are_not_judged_by_a_flood() -> None:
    two = data(price=np.random.default_rng(1).normal(size=3000), weight=np.random.default_rng(2).normal(size=3000))
    binned = planted(lambda events: by_item(events, COUNTED["quantiles"](events)), "id", pair=("price", "weight"))
    assert found(two, binned) == set()
    one = planted(lambda events: by_item(events, COUNTED["quantiles"](events)), "id", pair=("price",))
    assert found(two, one) == {"future"}


def test_numbers_of_an_id_may_follow_the_pairs_of_its_columns_and_of_one_column_may_not() -> None:
    def numbered(events: Table) -> np.ndarray:
        shift = int(1009 * mixed(events, between(events, *LAST)))
        return 1 + (np.arange(events.rows) % 97 + shift) % 97

    two = data(price=np.random.default_rng(1).normal(size=3000), weight=np.random.default_rng(2).normal(size=3000))
    assert found(two, planted(numbered, "id", size=98, pair=("price", "weight"))) == set()
    assert found(two, planted(numbered, "id", size=98, pair=("price",))) == {"future"}
    assert found(two, planted(numbered, "id", size=98)) == {"future"}

    def merged(events: Table) -> np.ndarray:
        return np.where(numbered(events) < 20, 1, numbered(events))

    assert found(two, planted(merged, "id", size=98, pair=("price", "weight"))) == {"future"}


def test_a_point_in_time_id_may_not_change_at_all() -> None:
    dataset = data()
    anew = planted(lambda events: by_item(events, HONEST["numbered anew by what is frequent"](events)), "id", "item", dynamic=True)
    assert found(dataset, anew) == {"future"}


def test_point_in_time_values_are_the_same_up_to_rounding_and_ids_to_the_last_one() -> None:
    for step, parts in ((2e-7, set()), (1e-4, {"future"})):
        number = planted(lambda events, step=step: np.sin(place(events)) + step * mixed(events, between(events, *LAST)), dynamic=True)
        assert found(data(), number) == parts
    far = planted(
        lambda events: 4_000_000 * (np.arange(events.rows) % 2) + 1 + int(4 * mixed(events, between(events, *LAST))), "id", dynamic=True
    )
    assert found(data(), far) == {"future"}


def test_where_all_events_share_a_moment_nothing_is_later() -> None:
    dataset = data()
    moment = np.full(dataset.train.rows, np.asarray(dataset.train["@clock"])[0])
    at_once = replace(dataset, train=dataset.train.with_columns({"@clock": moment}))
    report = report_of(at_once, planted(noise))
    assert report.judged["future"] == 0 and report.skipped["future"] == {"its last rows are all there is": 2}


def test_lists_may_follow_what_is_frequent_and_nothing_else() -> None:
    def listed(events: Table, kept: np.ndarray) -> np.ndarray:
        return np.stack([row_numbers(kept, 0), np.zeros(len(kept), int)], axis=1)

    frequent = planted(lambda events: listed(events, counts(events) >= np.median(counts(events))), "bag", "item", size=500)
    assert found(data(), frequent) == set()

    def ahead(events: Table) -> np.ndarray:
        return listed(events, np.arange(len(counts(events))) % 7 < 7 * mixed(events, between(events, *LAST)))

    assert found(data(), planted(ahead, "bag", "item", size=500)) == {"future"}


def test_a_flood_does_not_judge_what_becomes_another_kind_of_feature_with_it() -> None:
    """A number with one column more cannot be compared; the other poison judges it."""

    def wide(events: Table) -> np.ndarray:
        return np.tile(noise(events)[:, None], (1, 1 + (commonest(events, between(events, 0.96, 1.01)) > 20)))

    report = report_of(data(), planted(wide))
    assert report.findings == [] and report.judged["future"] == 1


def test_what_one_poison_alone_reaches_is_reached() -> None:
    def flooded(events: Table) -> np.ndarray:
        return np.where(between(events, 0.96, 1.01), commonest(events, between(events, *LAST)) / 100 + place(events), 0.0)

    def permuted(events: Table) -> np.ndarray:
        return np.where(between(events, 0.82, 0.9), mixed(events, between(events, 0.8, 0.9)) + place(events), 0.0)

    for made in (flooded, permuted):
        report = report_of(data(), planted(made, dynamic=True))
        assert not report.findings and report.not_reached == []
    assert report_of(data(), planted(lambda events: noise(events), dynamic=True)).not_reached == ["planted"]


def test_an_affine_map_is_one_up_to_the_digits_of_a_float32() -> None:
    value = np.random.default_rng(0).normal(size=400).astype(np.float32)
    assert affine(value, (1e4 * value.astype(np.float64) + 7).astype(np.float32))
    bent = (3 * value - 2).astype(np.float64)
    bent[5] += 2e-4 * np.ptp(bent)
    assert not affine(value, bent)


def test_rows_change_places_where_they_differ_by_more_than_the_digits_of_a_float32() -> None:
    value = np.linspace(0, 1, 50)
    for by, same in ((2e-7, True), (1e-4, False)):
        swapped = value.copy()
        swapped[8] = swapped[7] - by
        assert monotone(value, swapped) is same
        assert monotone(1000 * value, 1000 * swapped) is same


def test_rows_of_equal_value_may_part_in_any_order() -> None:
    old = np.array([2.0, 1, 1, 1, 2])
    assert monotone(old, np.array([4.0, 3, 0, 2, 5])) and not monotone(old, np.array([4.0, 4.5, 0, 2, 5]))
    assert monotone(np.ones(4), np.array([3.0, 1, 2, 9])) and monotone(np.array([3.0, 1, 2, 9]), np.ones(4))
    assert monotone(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("rule", [affine, alike, monotone])
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_gaps_must_stay_where_they_are(rule: Any, gap: float) -> None:
    value = np.random.default_rng(0).normal(size=30)
    old = np.where(np.arange(30) % 3 == 0, gap, value)
    assert rule(old, old.copy()) and rule(np.full(4, gap), np.full(4, gap))
    assert not rule(old, value) and not rule(value, old)
    assert not rule(old, np.where(np.arange(30) % 3 == 1, gap, value)) and not rule(old, -old if np.isinf(gap) else np.roll(old, 1))
    moved = old.copy()
    moved[[1, 2]] = moved[[2, 1]]
    assert not rule(old, moved)
    assert rule is alike or (rule(old, 2 * old + 1) and rule(2 * old, old))


def test_values_of_training_rows_with_gaps_are_judged_like_others() -> None:
    gaps = planted(lambda events: np.where(np.arange(events.rows) % 7 == 0, np.nan, noise(events)))
    assert found(data(), gaps) == set()

    def ahead(events: Table) -> np.ndarray:
        return np.where(np.arange(events.rows) % 7 == int(7 * mixed(events, between(events, *LAST))), np.nan, noise(events))

    assert found(data(), planted(ahead)) == {"future"}


def test_an_id_may_become_too_rare_or_common_enough_and_keeps_its_number_otherwise() -> None:
    ids = np.array([1, 1, 2, 3, 3])
    assert renamed(ids, np.array([0, 0, 5, 0, 0])) and renamed(np.array([0, 0, 5, 0, 0]), ids)
    assert not renamed(ids, np.array([4, 4, 4, 0, 0])) and not renamed(np.array([4, 4, 4, 0, 0]), ids)


def test_a_vocabulary_fitted_anew_has_one_row_for_the_rare_and_bins_keep_their_order() -> None:
    ids = np.repeat(np.arange(1, 9), 3)
    other = np.where(ids > 5, 9, 20 - ids)
    assert recut(ids, other) and recut(other, ids) and recut(ids, np.where(ids > 5, 0, 20 - ids))
    both = np.where(ids > 6, 0, np.where(ids > 4, 30, 20 - ids))
    assert recut(ids, both) and recut(both, ids), "unknown, and a row for the rare"
    assert recut(np.where(ids == 2, 9, 20 - ids), np.where(ids % 4 == 1, 30, ids))
    assert recut(ids, (ids + 3) // 2) and recut((ids + 3) // 2, ids) and not recut(ids, 9 - (ids + 3) // 2)
    assert not recut(ids, np.array([3, 5, 1])[ids % 3]) and not recut(np.array([3, 5, 1])[ids % 3], ids)
    assert recut(ids, np.zeros_like(ids))


def test_only_the_row_of_the_rare_may_part_or_take_in_rows_of_both_sides() -> None:
    two = np.array([1, 1, 2, 2])
    assert recut(two, np.array([2, 1, 1, 1])) and recut(np.array([2, 1, 1, 1]), two)
    assert not recut(two, np.array([1, 2, 2, 1]))
    assert not recut(np.array([1, 1, 2, 2, 3]), np.array([4, 3, 3, 2, 3])), "both rows part, and one of them to the rare alone"
