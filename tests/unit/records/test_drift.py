"""Histograms of training values, and the population stability index of new ones against them."""

from __future__ import annotations

import json
from math import log

import numpy as np
import pytest

from autorec_kernel.errors import BundleError
from autorec_kernel.records.drift import Bins, DriftProfile, chance, stability, together
from autorec_kernel.records.features import Feature

NUMBER, IDS, LIST = Feature("x", "numeric", "row", width=2), Feature("i", "id", "row", size=99), Feature("h", "history", "user", size=99)


def numbers(rows: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=rows) + shift).astype(np.float32)


def test_the_index_is_the_sum_over_bins_that_its_formula_says() -> None:
    before, now = [50.0, 30.0, 20.0], [10.0, 30.0, 60.0]
    p, q = [(count + 0.5) / 101.5 for count in before], [(count + 0.5) / 101.5 for count in now]
    by_hand = sum((one - other) * log(one / other) for one, other in zip(p, q, strict=True))
    assert stability(np.array(before), np.array(now)) == pytest.approx(by_hand, rel=1e-12)
    unsmoothed = 0.4 * log(5) + 0.4 * log(3)
    assert by_hand == pytest.approx(unsmoothed, rel=0.05)


def test_a_bin_that_is_empty_now_counts_and_one_that_always_was_does_not() -> None:
    before, now = np.array([50.0, 50.0, 0.0]), np.array([100.0, 0.0, 0.0])
    assert 1 < stability(before, now) < np.inf
    assert stability(before, now) == stability(before[:2], now[:2])


@pytest.mark.parametrize("seed", range(5))
def test_the_same_rows_have_an_index_of_zero_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for values, ids in ((numbers(500, seed), False), (rng.zipf(1.5, 500) % 60, True), (rng.integers(0, 9, (500, 4)), True)):
        bins = Bins.of(values, ids=ids)
        assert bins.counts.sum() == pytest.approx(500)
        assert stability(bins.counts, bins.counted(values)) == pytest.approx(0, abs=1e-12)
        assert np.allclose(bins.counted(rng.permutation(values)), bins.counts)


@pytest.mark.parametrize("seed", range(5))
def test_the_index_grows_with_the_shift(seed: int) -> None:
    bins = Bins.of(numbers(4000, seed), ids=False)
    found = [stability(bins.counts, bins.counted(numbers(4000, seed + 100, shift))) for shift in (0.0, 0.3, 0.6, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[0] < 0.02 and found[2] > 0.25


def test_numbers_outside_the_range_of_training_are_unseen() -> None:
    bins = Bins.of(np.linspace(0, 1, 101, dtype=np.float32), ids=False)
    assert bins.unseen(bins.counts) == 0
    assert bins.unseen(bins.counted(np.array([-0.01, 0.0, 0.5, 1.0, 7.0], np.float32))) == pytest.approx(0.4)
    assert [bins.told(place) for place in (0, 1, 2, 11)] == ["below 0", "0 to 0.1", "0.1 to 0.2", "above 1"]


def test_a_number_that_never_varied_is_compared_all_the_same() -> None:
    bins = Bins.of(np.ones(50, np.float32), ids=False)
    assert stability(bins.counts, bins.counted(np.ones(9, np.float32))) < 0.01
    assert stability(bins.counts, bins.counted(np.full(50, 1.5, np.float32))) > 1


def test_ids_are_unknown_frequent_or_others() -> None:
    values = np.repeat(np.arange(1, 21), np.arange(20, 0, -1))
    bins = Bins.of(values, ids=True)
    assert bins.marks.tolist() == list(range(1, 16))
    now = bins.counted(np.array([0, 0, 1, 3, 20, 90]))
    assert (now[0], now[1], now[3], now[-1]) == (2, 1, 1, 2)
    assert bins.unseen(now) == pytest.approx(1 / 3)
    assert [bins.told(place) for place in (0, 1, 3, 16)] == ["unknown", "frequent value no. 1", "frequent value no. 3", "all other values"]


def test_every_row_of_a_list_counts_once_however_long_it_is() -> None:
    bins = Bins.of(np.array([[1, 0, 0], [2, 3, 0], [0, 0, 0], [1, 2, 3]]), ids=True)
    assert bins.counts.tolist() == pytest.approx([1, 1 + 1 / 3, 1 / 2 + 1 / 3, 1 / 2 + 1 / 3, 0])
    assert bins.unseen(bins.counts) == pytest.approx(1 / 4)


@pytest.mark.parametrize("sizes", [(1000, 100), (5000, 5000)])
def test_chance_stays_below_its_limit_in_about_95_of_100_cases(sizes: tuple[int, int]) -> None:
    below, rng = [], np.random.default_rng(0)
    for _ in range(400):
        before, now = (rng.multinomial(size, np.full(10, 0.1)).astype(float) for size in sizes)
        below.append(stability(before, now) < chance(before, now))
    assert 0.90 < np.mean(below) < 0.99


def test_a_profile_is_read_as_it_was_written() -> None:
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=(70, 2)).astype(np.float32), "i": rng.integers(0, 30, 70), "h": rng.integers(0, 30, (70, 5))}
    profile = DriftProfile.of(values, (NUMBER, IDS, LIST))
    text = json.dumps(profile.to_json(), allow_nan=False)
    found = DriftProfile.load(json.loads(text))
    assert (found.rows, len(text) < 4000) == (70, True)
    for name, counts in found.counted(values).items():
        for bins, count in zip(found.features[name], counts, strict=True):
            assert np.allclose(bins.counts, count, atol=1e-3)


def test_wide_numbers_are_profiled_at_sixteen_components_at_most() -> None:
    values = {"x": np.zeros((5, 300), np.float32)}
    assert len(DriftProfile.of(values, (NUMBER,)).features["x"]) == 16


def test_a_profile_of_another_version_is_refused() -> None:
    with pytest.raises(BundleError, match="version 3"):
        DriftProfile.load({"version": 3})


@pytest.mark.parametrize("harm", [{"marks": [2, 1]}, {"marks": [1]}, {"counts": [1, 1, float("nan"), 1]}, {"counts": [1, 1, -1, 1]}])
def test_a_histogram_that_contradicts_itself_is_refused(harm: dict[str, object]) -> None:
    whole = {"ids": True, "marks": [1, 2], "counts": [1, 1, 1, 1]}
    assert DriftProfile.load({"version": 1, "rows": 4, "features": {"x": [whole]}}).rows == 4
    with pytest.raises(ValueError, match="histogram"):
        DriftProfile.load({"version": 1, "rows": 4, "features": {"x": [{**whole, **harm}]}})


def test_hashed_rows_count_as_unknown() -> None:
    values = np.array([1, 2, 2, 7, 8, 9, 0, 1])
    bins = Bins.of(values, ids=True, hashed=7)
    assert (bins.marks.tolist(), bins.counts.tolist()) == ([1, 2], [4, 2, 2, 0])
    assert bins.unseen(bins.counted(np.array([8, 8, 8, 1]))) == 0.75
    profile = DriftProfile.of({"i": values}, (IDS,), hashed={"i": 7})
    assert DriftProfile.load(json.loads(json.dumps(profile.to_json()))).features["i"][0].hashed == 7


def test_the_range_of_a_number_is_that_of_training() -> None:
    held = {"x": np.linspace(0, 1, 50, dtype=np.float32).reshape(-1, 1)}
    profile = DriftProfile.of(held, (Feature("x", "numeric", "row"),), ranges={"x": np.array([[-3.0], [2.0]], np.float32)}, held_out=True)
    (bins,) = profile.features["x"]
    assert (profile.held_out, bins.unseen(bins.counts)) == (True, 0)
    assert bins.unseen(bins.counted(np.array([-3.1, -3.0, 1.5, 2.0, 2.1], np.float32))) == pytest.approx(0.4)


def test_rows_stand_together_with_those_of_their_user() -> None:
    assert together(["a", "a", "a", "b"], 4) == (9 + 1) / 4
    assert together(["a", "a", None, None], 4) == (4 + 2) / 4
    assert together(None, 7) == 1


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)])
def test_likeness_is_the_correlation_of_two_rows_of_a_user(shared: float, expected: float) -> None:
    """Each row takes its user's own value with probability `shared`, else one of its own: two rows agree by it with its square."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(400), 20)
    own, chosen = rng.normal(size=400).astype(np.float32)[users], rng.random(8000) < shared
    values = np.where(chosen, own, rng.normal(size=8000).astype(np.float32))
    assert Bins.of(values, ids=False).likeness(values, users) == pytest.approx(expected, abs=0.03)


def test_few_users_with_many_rows_move_by_chance_more_often_than_many_users_do() -> None:
    rng = np.random.default_rng(0)

    def table(seed: int, users: int) -> tuple[dict[str, np.ndarray], list[str]]:
        own = np.random.default_rng(seed).normal(size=users).astype(np.float32)
        codes = rng.integers(0, users, 2000)
        return {"x": own[codes].reshape(-1, 1)}, [f"{seed}.{code}" for code in codes]

    values, names = table(0, 400)
    profile = DriftProfile.of(values, (Feature("x", "numeric", "row"),), users=names)
    (bins,) = profile.features["x"]
    below = []
    for seed in range(1, 200):
        now, others = table(seed, 200)
        (counts,) = profile.counted(now)["x"]
        sizes = [bins.independent(2000, profile.together), bins.independent(2000, together(others, 2000))]
        below.append(
            [stability(bins.counts, counts) < limit for limit in (chance(bins.counts, counts), chance(bins.counts, counts, sizes))]
        )
    assert np.mean(below, axis=0)[0] < 0.05
    assert np.mean(below, axis=0)[1] > 0.85
