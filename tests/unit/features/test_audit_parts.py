"""The pieces of the audit: what a poison moves, what counts as the same, and what one column says about a label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.features.association import alone, group_z, rank_z
from autorec_kernel.features.compare import affine, alike, monotone, renamed
from autorec_kernel.features.sample import flooded, later, permuted, sample_of, shuffled
from autorec_kernel.records.dataset import CLOCK, ORDER, Dataset
from autorec_kernel.records.table import Coded
from autorec_kernel.testing.data import tiny_dataset


def texts(dataset: Dataset, name: str) -> np.ndarray:
    column = dataset.train[name]
    assert isinstance(column, Coded)
    return column.text()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wide(clock: str) -> Dataset:
    table = pd.DataFrame(
        {"user_id": rng().integers(0, 300, 8000), "item_id": rng(1).integers(0, 500, 8000), "rating": rng(2).integers(1, 6, 8000)}
    )
    if clock == "time":
        return open_dataset(table.assign(timestamp=10**9 + 60 * np.arange(8000)), task="rate", protocol="temporal")
    return open_dataset(table, task="rate", protocol="random")


def test_the_sample_is_the_newest_rows_where_there_is_a_clock() -> None:
    dataset = wide("time")
    sample = sample_of(dataset, 1000, "rate", rng())
    assert np.array_equal(np.asarray(sample.train[ORDER]), np.asarray(dataset.train[ORDER])[-1000:])
    assert sample.valid.rows == sample.test.rows == 0


def test_the_sample_keeps_whole_users_where_there_is_none() -> None:
    dataset = wide("none")
    sample = sample_of(dataset, 1000, "rate", rng())
    whole = dict(zip(*np.unique(texts(dataset, "user_id").astype(str), return_counts=True), strict=True))
    kept = dict(zip(*np.unique(texts(sample, "user_id").astype(str), return_counts=True), strict=True))
    assert 900 < sample.train.rows <= 1000
    assert all(whole[user] == count for user, count in kept.items())


def test_side_tables_of_the_sample_hold_its_entities_only() -> None:
    table = pd.DataFrame({"user_id": np.arange(4000) % 90, "item_id": np.arange(4000) // 10, "timestamp": 10**9 + np.arange(4000)})
    items = pd.DataFrame({"item_id": np.arange(400), "year": np.arange(400)})
    sample = sample_of(open_dataset(table, items=items), 500, "recommend", rng())
    column = sample.items["item_id"]
    assert isinstance(column, Coded)
    assert set(column.values) == set(texts(sample, "item_id"))


def test_poisoned_columns_keep_their_values_as_a_whole_and_early_rows_stay() -> None:
    dataset = tiny_dataset(task="rate")
    late = later(dataset, 0.8)
    clock = np.asarray(dataset.train[CLOCK])
    assert clock[~late].max() < clock[late].min() and 0.1 < late.mean() < 0.35
    changed = permuted(dataset, late, rng())
    for name in ("user_id", "item_id"):
        old, new = texts(dataset, name), texts(changed, name)
        assert np.array_equal(old[~late], new[~late]) and (old[late] != new[late]).any()
        assert sorted(old) == sorted(new)
    assert np.array_equal(np.asarray(dataset.train["timestamp"]), np.asarray(changed.train["timestamp"]))


def test_a_flood_changes_what_is_frequent_and_keeps_every_id() -> None:
    dataset = tiny_dataset(task="rate")
    late = later(dataset, 0.5)
    old, new = (texts(one, "item_id") for one in (dataset, flooded(dataset, late, rng())))
    assert set(old) == set(new) and np.array_equal(old[~late], new[~late])
    assert np.unique(new, return_counts=True)[1].max() > 1.5 * np.unique(old, return_counts=True)[1].max()


def test_positions_make_the_later_half_of_each_user_late() -> None:
    dataset = tiny_dataset(task="recommend", clock="position")
    late, users, place = later(dataset, 0.5), texts(dataset, "user_id"), np.asarray(dataset.train[CLOCK])
    for user in np.unique(users):
        assert place[(users == user) & late].min() > place[(users == user) & ~late].max()
    assert np.array_equal(users, texts(permuted(dataset, late, rng()), "user_id"))
    assert not later(tiny_dataset(task="rate", clock="none"), 0.8).any()


def test_the_later_half_of_a_user_is_the_second_of_two_events_and_the_last_of_three() -> None:
    user = np.repeat(np.arange(20), 3 + np.arange(20) % 5)
    table = pd.DataFrame({"user_id": user, "item_id": np.arange(len(user)) % 23, "place": np.arange(len(user))})
    dataset = open_dataset(table, task="recommend", roles={"place": "position"})
    users, late = texts(dataset, "user_id"), later(dataset, 0.5)
    sizes = {np.count_nonzero(users == one) for one in np.unique(users)}
    assert {1, 2, 3, 4} <= sizes
    for one in np.unique(users):
        count = np.count_nonzero(users == one)
        assert late[users == one].tolist() == [2 * place >= count for place in range(count)]


def test_shuffling_moves_labels_and_nothing_else() -> None:
    dataset = tiny_dataset(task="rate")
    mixed = shuffled(dataset, rng())
    old, new = np.asarray(dataset.train["rating"]), np.asarray(mixed.train["rating"])
    assert (old != new).any() and np.array_equal(np.sort(old), np.sort(new))
    assert np.array_equal(texts(dataset, "item_id"), texts(mixed, "item_id"))


def test_affine_monotone_and_renamed() -> None:
    value = rng().normal(size=50)
    assert affine(value, 3 * value - 2) and not affine(value, value**3) and not affine(value, -value)
    assert affine(np.ones(3), np.zeros(3)) and not affine(np.ones(3), np.arange(3.0))
    assert alike(value, value + 1e-7) and not alike(value, value + 1e-4) and not alike(np.zeros(3), np.array([0, 0, 2e-6]))
    assert monotone(value, value**3) and not monotone(value, -value)
    ids = np.array([1, 2, 2, 3, 0])
    assert renamed(ids, np.array([7, 5, 5, 0, 4]))
    assert not renamed(ids, np.array([7, 5, 6, 9, 0])) and not renamed(ids, np.array([7, 7, 7, 9, 0]))


def test_the_rank_statistic_is_the_auc_in_standard_errors() -> None:
    score, label = rng().integers(0, 9, 400).astype(float), rng(1).integers(0, 2, 400).astype(float)
    exact = auc(label.astype(np.int64), score)
    assert exact is not None
    positive, n = label.sum(), len(label)
    _, ties = np.unique(score, return_counts=True)
    variance = positive * (n - positive) / 12 * ((n + 1) - (ties**3 - ties).sum() / (n * (n - 1)))
    assert rank_z(score, label) == pytest.approx((exact - 0.5) * positive * (n - positive) / np.sqrt(variance), rel=1e-9)
    assert rank_z(np.ones(400), label) == 0.0


def test_groups_that_know_the_label_stand_out_however_many_there_are() -> None:
    label = rng().normal(size=2000)
    blind = [group_z(rng(seed).integers(0, groups, 2000), label, rng(seed)) for seed in range(20) for groups in (2, 50, 1500)]
    assert max(blind) < 5
    assert group_z(np.digitize(label, [-1, 0, 1]), label, rng()) > 50
    assert group_z(np.arange(2000), label, rng()) == 0.0


def test_few_groups_of_chance_stay_within_five_deviations_as_often_as_many() -> None:
    label = rng().integers(0, 2, 1200).astype(float)
    found = [group_z(rng(seed).integers(0, groups, 1200), label, rng(seed)) for seed in range(1, 400) for groups in (2, 3)]
    assert sum(abs(z) > 5 for z in found) <= 1


@pytest.mark.parametrize("shape", [lambda y: -y, lambda y: np.abs(y - 0.5) * 0 + y * 7, lambda y: np.sin(40 * y)])
def test_a_column_that_is_the_label_explains_it(shape: object) -> None:
    label = rng().integers(0, 2, 2000).astype(float)
    assert alone(shape(label), label, rng(), kind="numeric", binary=True) > 0.999  # type: ignore[operator]
    assert alone(label.astype(np.int64), label, rng(), kind="id", binary=True) > 0.999


def test_a_column_of_chance_explains_nothing_whatever_its_size() -> None:
    label = rng().integers(0, 2, 2000).astype(float)
    for groups in (2, 40, 2000):
        assert alone(rng(1).integers(0, groups, 2000), label, rng(2), kind="id", binary=True) < 0.6
    assert alone(rng(3).normal(size=2000), label, rng(2), kind="numeric", binary=True) < 0.6
    number = rng(4).normal(size=2000)
    assert alone(rng(3).normal(size=2000), number, rng(2), kind="numeric", binary=False) < 0.05
    assert alone(np.exp(number), number, rng(2), kind="numeric", binary=False) > 0.95
    assert alone(2 - number, number, rng(2), kind="numeric", binary=False) > 0.999
