"""`Latent`: a user's regression on the factors of what it labelled before, with nothing of the row's own or a later time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autorec_features.item_factors import learn
from autorec_features.latent import Latent
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.records.table import Table
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, profiles, proposals_of, read, world

LABELLED = {"label": "rating", "prior": 3.0, "spread": 2.0}
RANK = 4


def training(config: Any, events: Table) -> np.ndarray:
    fitted = Latent(config).fit(events, {}, np.random.default_rng(0))
    return np.asarray((fitted.training_values(events) or {})["taste.latent"])[:, 0]


def two_tastes(rows: int, rng: np.random.Generator) -> Table:
    """Users of two kinds, who like the even items or the odd ones; all items and all users get the same mean."""
    users, items = rng.integers(1, 201, rows), rng.integers(1, 61, rows)
    likes = (users + items) % 2 == 0
    label = (likes ^ (rng.random(rows) < 0.1)).astype(np.float64)
    clock = np.arange(rows, dtype=np.int64)
    columns = {"@user": users, "@item": items, "@user_key": users, "@clock": clock, "@order": clock, "rating": label}
    return Table(columns, rows)


def scores_by_hand(events: Table, rows: np.ndarray, means: np.ndarray, factors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return what a ridge regression of each row's user on the factors of its earlier events (of `known`) gives for the row's item."""
    users, items, clock = (np.asarray(events[name]) for name in ("@user", "@item", "@clock"))
    rest = (np.asarray(events["rating"]) - 3.0) / 2.0 - means[items]
    found = []
    for row in rows:
        past = known & (users == users[row]) & (clock < clock[row])
        own = rest[past] - rest[past].sum() / (past.sum() + 5.0)
        taste = sum((r * factors[item] for r, item in zip(own, items[past], strict=True)), np.zeros(factors.shape[1]))
        found.append(taste @ factors[items[row]] / (past.sum() + 30.0))
    return np.array(found)


@pytest.fixture(scope="module")
def timed() -> World:
    return world(example_dataset("time", "rate"), "rate")


def test_a_later_row_reads_the_users_regression_on_all_factors(timed: World) -> None:
    fitted = fitted_on(Latent, Latent.Config(rank=RANK, **LABELLED), timed)[1]
    arrays = fitted.program.arrays
    factors = np.stack([arrays[f"factor {number}"] for number in range(RANK)], axis=1)
    rows = np.arange(0, timed.events.rows, 7)
    expected = scores_by_hand(timed.events, rows, arrays["means"], factors, np.ones(timed.events.rows, bool))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(read(fitted, timed, rows)["taste.latent"][:, 0], expected, atol=1e-6)


def learnt_by_hand(users: np.ndarray, items: np.ndarray, label: np.ndarray, size: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return means [size] and the projector on the space of the factors, [size, size]: factors are told up to a turn."""
    means, matrix = np.zeros(size), np.zeros((users.max() + 1, size))
    count = np.bincount(items, minlength=size)
    for item in range(1, size):
        means[item] = label[items == item].sum() / (count[item] + 300.0)
    rest = label - means[items]
    usual = {user: rest[users == user].sum() / ((users == user).sum() + 5.0) for user in np.unique(users)}
    for user, item, value in zip(users, items, rest, strict=True):
        matrix[user, item] += value - usual[user]
    scale = 1.0 / np.sqrt(count + 300.0)
    _, values, right = np.linalg.svd(matrix * scale)
    factors = (right[:rank].T * values[:rank]) * scale[:, None]
    square = (factors * count[:, None]).T @ factors / count.sum()
    return means, factors @ np.linalg.inv(square) @ factors.T


def test_factors_are_the_leading_directions_of_the_residuals() -> None:
    rng = np.random.default_rng(5)
    users, items, label = rng.integers(1, 40, 900), rng.integers(1, 26, 900), rng.normal(0.3, 1.0, 900)
    means, factors = learn(users, items, label, 26, RANK)
    expected, projector = learnt_by_hand(users, items, label, 26, RANK)
    np.testing.assert_allclose(means, expected, atol=1e-12)
    np.testing.assert_allclose(factors @ factors.T, projector, atol=1e-8)


def test_rows_of_unknown_users_items_or_labels_teach_nothing() -> None:
    rng = np.random.default_rng(6)
    users, items, label = rng.integers(1, 40, 900), rng.integers(1, 26, 900), rng.normal(size=900)
    unknown = rng.integers(0, 4, 900)  # 1: the user, 2: the item, 3: the label
    given = np.where(unknown == 1, 0, users), np.where(unknown == 2, 0, items), np.where(unknown == 3, np.nan, label)
    known = unknown == 0
    for found, alone in zip(learn(*given, 26, RANK), learn(users[known], items[known], label[known], 26, RANK), strict=True):
        np.testing.assert_array_equal(found, alone)
    assert not any(part.any() for part in learn(np.zeros(5, int), np.ones(5, int), np.ones(5), 26, RANK))


@pytest.mark.parametrize("number", range(4))
def test_a_training_row_reads_factors_of_the_last_moment_before_it(timed: World, number: int) -> None:
    found = training(Latent.Config(rank=RANK, **LABELLED), timed.events)
    clock, rows = np.asarray(timed.events["@clock"]), timed.events.rows
    moments = [*(np.sort(clock)[int(share * rows)] for share in (0.3, 0.5, 0.7, 0.85)), clock.max() + 1]
    assert not found[clock < moments[0]].any()
    start, end = moments[number], moments[number + 1]
    known = np.flatnonzero(clock < start)
    users, items = (np.asarray(timed.events[name])[known] for name in ("@user", "@item"))
    label = (np.asarray(timed.events["rating"])[known] - 3.0) / 2.0
    means, factors = learn(users, items, label, int(np.asarray(timed.events["@item"]).max()) + 1, RANK)
    asked = np.flatnonzero((clock >= start) & (clock < end))
    expected = scores_by_hand(timed.events, asked, means, factors, clock < end)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found[asked], expected, atol=1e-6)


def test_neither_the_seed_nor_the_order_of_rows_nor_later_ids_change_large_factors() -> None:
    rng = np.random.default_rng(7)
    rows = 12_000
    columns = {"@user": rng.integers(1, 700, rows), "@item": rng.integers(1, 600, rows), "rating": rng.integers(0, 2, rows) * 1.0}
    columns |= {"@user_key": columns["@user"], "@clock": np.arange(rows), "@order": np.arange(rows)}
    config, turn = Latent.Config(rank=4, label="rating", prior=0.5, spread=0.5), rng.permutation(rows)
    values = [
        (Latent(config).fit(Table(given, rows), {}, np.random.default_rng(seed)).training_values(Table(given, rows)) or {})["taste.latent"]
        for seed, given in ((0, columns), (1, columns), (0, {name: column[turn] for name, column in columns.items()}))
    ]
    assert values[0].any()
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_allclose(values[2], values[0][turn], atol=1e-6)


def test_a_clock_that_many_rows_share_is_passed_by() -> None:
    events = two_tastes(6000, np.random.default_rng(8))
    bulk = np.minimum(np.arange(6000) // 4500 * (np.arange(6000) - 4499), 1500)  # three quarters of the rows at one moment
    found = training(Latent.Config(rank=4, label="rating", prior=0.5, spread=0.5), Table({**events.columns, "@clock": bulk}, 6000))
    assert not found[bulk == 0].any()
    label = np.asarray(events["rating"])
    assert (auc(label[4500:], found[4500:]) or 0) > 0.8
    with pytest.raises(RejectColumn, match="no row has 50 labels before it"):
        training(Latent.Config(rank=4, label="rating", prior=0.5, spread=0.5), Table({**events.columns, "@clock": bulk * 0}, 6000))


def test_factors_are_uncorrelated_over_the_events_and_do_not_depend_on_the_numbers_of_items() -> None:
    rng = np.random.default_rng(1)
    events = two_tastes(4000, rng)
    users, items, label = (np.asarray(events[name]) for name in ("@user", "@item", "rating"))
    means, factors = learn(users, items, label - 0.5, 61, RANK)
    np.testing.assert_allclose(factors[items].T @ factors[items] / len(items), np.eye(RANK), atol=1e-8)
    turn = rng.permutation(80)[:61]
    turn[0], turn[turn == 0] = 0, 80
    other_means, other = learn(users, turn[items], label - 0.5, 81, RANK)
    np.testing.assert_array_equal(other[turn[1:]], factors[1:])
    np.testing.assert_array_equal(other_means[turn[1:]], means[1:])


@pytest.mark.parametrize("clock", ["time", "position"])
def test_tastes_that_no_mean_shows_are_found(clock: str) -> None:
    events = two_tastes(12_000, np.random.default_rng(2))
    config = Latent.Config(clock=clock, rank=4, label="rating", prior=0.5, spread=0.5)
    found, label = training(config, events), np.asarray(events["rating"])
    late = np.arange(events.rows) > 8000
    assert (auc(label[late], found[late]) or 0) > 0.85  # a tenth of the labels is noise: .9 is the most
    fitted = Latent(config).fit(events, {}, np.random.default_rng(0))
    assert fitted.program().arrays["factor 0"][0] == 0  # an unknown item has no factors


@pytest.mark.parametrize("clock", ["time", "position"])
def test_labels_of_chance_stay_unknown_to_their_rows(clock: str) -> None:
    rng = np.random.default_rng(3)
    events = two_tastes(8000, rng)
    label = rng.integers(0, 2, events.rows).astype(np.float64)
    found = training(
        Latent.Config(clock=clock, rank=8, label="rating", prior=0.5, spread=0.5), Table({**events.columns, "rating": label}, events.rows)
    )
    read_any = found != 0
    assert read_any.mean() > 0.6
    assert abs((auc(label[read_any], found[read_any]) or 0) - 0.5) < 0.03


def test_a_later_label_and_a_missing_one_change_nothing_before() -> None:
    events = two_tastes(4000, np.random.default_rng(4))
    config = Latent.Config(rank=4, label="rating", prior=0.5, spread=0.5)
    late = np.arange(events.rows) >= 3300  # of the last moment's rows some are earlier, some later
    first = training(config, events)
    for value in (1.0, np.nan):
        label = np.where(late, value, np.asarray(events["rating"]))
        items = np.where(late, 70, np.asarray(events["@item"]))
        changed = training(config, Table({**events.columns, "rating": label, "@item": items}, events.rows))
        np.testing.assert_array_equal(changed[~late], first[~late])
        assert not np.array_equal(changed[late], first[late])


def test_it_proposes_itself_where_labels_and_an_order_are_there_and_turns_few_labels_down(timed: World) -> None:
    assert {clock for clock, _, _ in proposals_of(Latent)} == {"time", "position"}
    with pytest.raises(RejectColumn, match="no row has 50 labels before it"):
        Latent(Latent.Config(**LABELLED)).fit(timed.events.take(np.arange(50)), {}, np.random.default_rng(0))
    with pytest.raises(RejectColumn, match="of users in other folds"):
        lonely = Table({**timed.events.columns, "@user_key": np.full(timed.events.rows, 3)}, timed.events.rows)
        Latent(Latent.Config(clock="position", **LABELLED)).fit(lonely, {}, np.random.default_rng(0))


@pytest.mark.parametrize(("rows", "rank"), [(299_999, 6), (300_000, 8), (3_000_000, 4)])
def test_the_number_of_factors_follows_the_rows(rows: int, rank: int) -> None:
    profile = next(profile for profile in profiles() if profile.clock == "time")
    (proposal,) = Latent.propose(replace(profile, rows=rows))
    assert proposal.config.rank == rank  # type: ignore[attr-defined]
    assert proposal.bytes == rows * 24 * (rank + 1)
