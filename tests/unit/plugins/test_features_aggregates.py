"""Aggregates of groups and of activity against brute force: only events strictly before the row count, each once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from autorec_features.activity import Activity
from autorec_features.bias import Bias
from autorec_features.factors import Factors
from autorec_features.groups import Groups
from autorec_features.keys import keys_for
from autorec_features.leanings import Leanings
from autorec_features.sessions import Sessions
from autorec_features.spectrum import leading
from autorec_features.taste import Taste
from autorec_kernel.contracts.features import DataProfile
from autorec_kernel.features.compute import event_columns
from autorec_kernel.records.program import Program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, Ragged, Table
from autorec_kernel.testing.data import ragged
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, proposals_of, read, world

PRIOR, SPREAD, STRENGTH = 3.0, 2.0, 4.0
LABELLED = {"label": "rating", "prior": PRIOR, "spread": SPREAD, "strength": STRENGTH}


@pytest.fixture(scope="module")
def timed() -> World:
    return world(example_dataset("time", "rate"), "rate")


def texts(place: World, name: str) -> list[tuple[Any, ...]]:
    """Return the categories of a column an event, as tuples: one text, the texts of a list, nothing where it is missing."""
    if name in ("@user", "@item"):
        return [(row,) for row in np.asarray(place.events[name])]
    column = event_columns([name], place.events, place.sides)[name]
    if isinstance(column, Coded):
        return [(text,) if text is not None else () for text in column.text()]
    assert isinstance(column, Ragged)
    values = column.values.text()  # type: ignore[union-attr]
    return [tuple(values[a:b]) for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


def before(place: World, row: int) -> np.ndarray:
    return np.asarray(place.events["@clock"]) < np.asarray(place.events["@clock"])[row]


def by_hand(place: World, keys: tuple[str, ...], row: int) -> dict[str, float]:
    """Return the values of a row by loops over the events before it."""
    parts = [texts(place, name) for name in keys]
    rating, earlier = np.asarray(place.events["rating"]), before(place, row)
    own = list(product(*(part[row] for part in parts)))
    counts, means = [], []
    for key in own:
        hit = np.array([all(k in part[i] for k, part in zip(key, parts, strict=True)) for i in range(place.events.rows)]) & earlier
        times = [parts[-1][i].count(key[-1]) for i in np.flatnonzero(hit)]
        total = sum(t * (r - PRIOR) / SPREAD for t, r in zip(times, rating[hit], strict=True))
        counts.append(sum(times))
        means.append(total / (sum(times) + STRENGTH))
    told = {"count": (np.log1p(np.mean(counts) if own else 0.0) - 2.0) * 0.5}
    return told | {name: float(pool(means)) if own else 0.0 for name, pool in (("mean", np.mean), ("best", max), ("worst", min))}


@pytest.mark.parametrize(
    "keys",
    [
        ("device",),
        ("items.brand",),
        ("users.country",),
        ("items.genres",),
        ("@user", "items.genres"),
        ("@item", "users.country"),
        ("@user", "items.brand", "items.genres"),
    ],
)
def test_a_group_counts_and_averages_the_events_before_the_row(timed: World, keys: tuple[str, ...]) -> None:
    _, fitted = fitted_on(Groups, Groups.Config(keys=keys, **LABELLED), timed)
    found = read(fitted, timed)
    assert len(found) == (4 if "genres" in keys[-1] else 2)
    for row in range(0, timed.events.rows, 7):
        expected = by_hand(timed, keys, row)
        for name, values in found.items():
            assert values[row, 0] == pytest.approx(expected[name.rpartition(".")[2]], rel=1e-5, abs=1e-6), (row, name)


def test_a_group_says_what_its_values_depend_on(timed: World) -> None:
    expected = {("device",): "row", ("items.brand",): "item", ("users.country",): "user", ("@user", "items.brand"): "pair"}
    for keys, depends in expected.items():
        _, fitted = fitted_on(Groups, Groups.Config(keys=keys, **LABELLED), timed)
        assert {feature.depends for feature in fitted.features} == {depends}
        assert all(feature.dynamic for feature in fitted.features)


@pytest.mark.parametrize("keys", [("device",), ("items.genres",), ("@item", "users.country")])
def test_without_a_clock_no_row_reads_its_own_label_or_that_of_its_user(keys: tuple[str, ...]) -> None:
    place = world(example_dataset("none", "rate"), "rate")
    config = Groups.Config(keys=keys, clock="none", **LABELLED)
    op, _ = fitted_on(Groups, config, place)
    rating = np.array(place.events["rating"])
    own = np.asarray(place.events["@user"]) == np.asarray(place.events["@user"])[17]
    other = place.events.with_columns({"rating": np.where(own, 6.0 - rating, rating)})
    changed = Groups(config).fit(other, place.tables, np.random.default_rng(0))
    for name, values in (op.training_values(place.events) or {}).items():
        assert np.array_equal(values[own], changed.training_values(other)[name][own])  # type: ignore[index]
        assert values.shape == (place.events.rows, 1)
    assert any(not np.array_equal(v, changed.training_values(other)[n]) for n, v in op.training_values(place.events).items())  # type: ignore[union-attr,index]


def test_numbers_are_grouped_by_their_quantiles(timed: World) -> None:
    _, fitted = fitted_on(Groups, Groups.Config(keys=("@item", "users.age"), **LABELLED), timed)
    edges = next(array for name, array in fitted.program.arrays.items() if "edges" in name)
    assert len(edges) == 4
    assert (np.diff(edges) > 0).all()


def test_pairs_are_leanings_where_a_clock_orders_their_events_and_groups_elsewhere() -> None:
    groups = [(clock, proposal.config.keys) for clock, _, proposal in proposals_of(Groups)]
    leanings = [(clock, proposal.config.keys) for clock, _, proposal in proposals_of(Leanings)]
    pairs = {("@user", "items.genres"), ("@item", "users.country"), ("@user", "device"), ("@item", "users.age", "users.country")}
    assert {keys for clock, keys in leanings if clock == "time"} >= pairs
    assert {keys for clock, keys in leanings if clock == "position"} >= {keys for keys in pairs if keys[0] == "@user"}
    assert {keys for clock, keys in groups if clock == "position"} >= {keys for keys in pairs if keys[0] == "@item"}
    assert not {keys for clock, keys in groups if clock == "position"} & {keys for clock, keys in leanings if clock == "position"}
    assert {keys for clock, keys in groups if clock == "none"} >= pairs
    assert {clock for clock, _ in leanings} == {"time", "position"}
    assert {keys for clock, keys in groups if clock == "time"} >= {("device",), ("items.genres",)}
    assert not pairs & {keys for clock, keys in groups if clock == "time"}


def test_without_a_clock_small_columns_of_many_rows_tell_themselves() -> None:
    kinds = {"y": ("label", "numeric", 2), "small": ("feature", "categorical", 64), "large": ("feature", "categorical", 65)}
    columns = tuple(Column(name, role=role, kind=kind, distinct=many) for name, (role, kind, many) in kinds.items())  # type: ignore[arg-type]
    for clock, rows, expected in (("none", 20_000, {"large"}), ("none", 19_999, {"small", "large"}), ("time", 20_000, {"small", "large"})):
        profile = DataProfile(Schema(columns), rows, 0, 0, clock, "click", {"label_mean": 0.5, "label_std": 0.5})
        assert {proposal.config.keys[0] for proposal in Groups.propose(profile)} == expected


@pytest.mark.parametrize("keys", [("@user", "items.genres"), ("@item", "users.country"), ("@user", "items.brand")])
def test_a_leaning_is_the_mean_residual_of_the_pair_shrunk_to_that_of_its_owner(timed: World, keys: tuple[str, ...]) -> None:
    config = Leanings.Config(keys=keys, label="rating", prior=PRIOR, spread=SPREAD, strength=3.0)
    found = read(fitted_on(Leanings, config, timed)[1], timed)
    users, items, clock = (np.asarray(timed.events[name]) for name in ("@user", "@item", "@clock"))
    own, other = (users, items) if keys[0] == "@user" else (items, users)
    standard = (np.asarray(timed.events["rating"]) - PRIOR) / SPREAD

    def mean_before(key: np.ndarray, row: int, values: np.ndarray) -> float:
        return shrunk(values[(key == key[row]) & (clock < clock[row])], 5.0)

    base = np.array([mean_before(other, row, standard) for row in range(len(clock))])
    residual, categories = standard - base, texts(timed, keys[1])
    for row in range(0, len(clock), 9):
        prior, each = mean_before(own, row, residual), []
        for value in categories[row]:
            times = np.array([part.count(value) for part in categories]) * ((own == own[row]) & (clock < clock[row]))
            each.append(((times * residual).sum() + 3.0 * prior) / (times.sum() + 3.0))
        name = f"{keys[0][1:]}+{keys[1]}"
        for out, pool in (("mean", np.mean), ("best", max), ("worst", min)):
            if f"{name}.{out}" in found:
                expected = base[row] + (pool(each) if each else 0.0)
                assert found[f"{name}.{out}"][row, 0] == pytest.approx(expected, abs=1e-5), (row, out)
    assert (f"{name}.best" in found) == ("genres" in keys[1])


def test_a_whole_list_is_one_key_whatever_its_order() -> None:
    lists = [["a", "b"], ["b", "a"], ["a"], [], ["a", "b", "c"], ["a", "zebra"]]
    items = Table({"genres": ragged(lists[:5])}, 5)
    keys = keys_for(["items.genres:whole"], Table(), {"items": items})
    program = Program(keys.inputs, keys.steps, (), keys.arrays)
    found = program.computed([keys.name], {"items.genres": ragged(lists)})[keys.name].tolist()
    assert not keys.several
    assert found[0] == found[1]
    assert found[3] == 0
    assert found[5] == found[2]  # an unseen value says nothing
    assert len({found[0], found[2], found[4]}) == 3
    assert 1 <= min(found[0], found[2], found[4]) <= max(found) < keys.size


@pytest.mark.parametrize("standing", ["@popularity", "@quality"])
def test_a_leaning_to_popular_or_good_items_is_that_of_their_band_before_the_row(timed: World, standing: str) -> None:
    config = Leanings.Config(keys=("@user", standing), label="rating", prior=PRIOR, spread=SPREAD, strength=3.0)
    found = read(fitted_on(Leanings, config, timed)[1], timed)
    users, items, clock = (np.asarray(timed.events[name]) for name in ("@user", "@item", "@clock"))
    standard = (np.asarray(timed.events["rating"]) - PRIOR) / SPREAD
    past = [(items == items[row]) & (clock < clock[row]) for row in range(len(clock))]
    base = np.array([shrunk(standard[one], 5.0) for one in past])
    if standing == "@quality":
        band = np.searchsorted([-0.75, -0.45, -0.15, 0.15, 0.45, 0.75], 1.5 * base, side="right")
    else:
        met = np.array([one.sum() for one in past])
        band = np.searchsorted([-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5], (np.log1p(met) - 2) / 2, side="right")
    assert len(np.unique(band)) > 2
    for row in range(0, len(clock), 9):
        mine = (users == users[row]) & (clock < clock[row])
        same = mine & (band == band[row])
        prior = shrunk((standard - base)[mine], 5.0)
        expected = base[row] + ((standard - base)[same].sum() + 3.0 * prior) / (same.sum() + 3.0)
        name = f"user+{standing[1:]}"
        assert found[f"{name}.mean"][row, 0] == pytest.approx(expected, abs=1e-5)
        assert found[f"{name}.count"][row, 0] == pytest.approx((np.log1p(same.sum()) - 2) / 2, abs=1e-5)


def test_activity_is_counted_over_windows_and_measured_in_hours(timed: World) -> None:
    config = Activity.Config(entity="item", windows=(24.0, 72.0), label="rating", prior=PRIOR, spread=SPREAD)
    _, fitted = fitted_on(Activity, config, timed)
    found = read(fitted, timed)
    items, clock = np.asarray(timed.events["@item"]), np.asarray(timed.events["@clock"])
    standard = (np.asarray(timed.events["rating"]) - PRIOR) / SPREAD
    for row in range(0, timed.events.rows, 5):
        past = np.flatnonzero((items == items[row]) & (clock < clock[row]))
        hours = (clock[row] - clock[past]) / 3.6e12
        told = {name: found[f"item.{name}"][row].tolist() for name in ("gap", "age", "pace")}
        if not len(past):
            assert all(value == [-0.5, 1.0] for value in told.values())
            continue
        expected = {"gap": hours.min(), "age": hours.max(), "pace": hours.max() / len(past)}
        for name, value in expected.items():
            assert told[name] == pytest.approx([(np.log1p(value) - 1) / 2, 0.0], rel=1e-5, abs=1e-6)
        for window, name in ((24, "1d"), (72, "3d")):
            inside = past[hours <= window]
            assert found[f"item.count.{name}"][row, 0] == pytest.approx((np.log1p(len(inside)) - 1) / 2, rel=1e-5, abs=1e-6)
            whole = standard[past].sum() / (len(past) + 5)
            trend = (standard[inside].sum() + 5 * whole) / (len(inside) + 5) - whole
            assert found[f"item.trend.{name}"][row, 0] == pytest.approx(trend, rel=1e-5, abs=1e-6)


def test_activity_needs_a_global_clock_and_a_span_of_three_windows() -> None:
    for clock, _, proposal in proposals_of(Activity):
        assert clock == "time"
        assert proposal.config.windows == (1.0, 24.0)  # the example data spans 15 days


def shrunk(values: np.ndarray, strength: float) -> float:
    return float(values.sum() / (len(values) + strength))


def test_the_bias_of_a_pair_is_the_items_quality_and_the_users_leniency_before_the_row(timed: World) -> None:
    _, fitted = fitted_on(Bias, Bias.Config(label="rating", prior=PRIOR, spread=SPREAD, strength=4.0), timed)
    found = read(fitted, timed)
    users, items, clock = (np.asarray(timed.events[name]) for name in ("@user", "@item", "@clock"))
    standard = (np.asarray(timed.events["rating"]) - PRIOR) / SPREAD

    def mean_before(key: np.ndarray, row: int, values: np.ndarray) -> float:
        return shrunk(values[(key == key[row]) & (clock < clock[row])], 4.0)

    above_user = np.array([standard[row] - mean_before(users, row, standard) for row in range(len(clock))])
    above_item = np.array([standard[row] - mean_before(items, row, standard) for row in range(len(clock))])
    for row in range(0, len(clock), 6):
        quality, leniency = mean_before(items, row, above_user), mean_before(users, row, above_item)
        assert found["item.quality"][row, 0] == pytest.approx(quality, abs=1e-5)
        assert found["user.leniency"][row, 0] == pytest.approx(leniency, abs=1e-5)
        assert found["user+item.bias"][row, 0] == pytest.approx(quality + leniency, abs=1e-5)
        assert found["user+item.mean"][row, 0] == pytest.approx(mean_before(items, row, standard) + leniency, abs=1e-5)
        for name, key, count in (("user", users, 5), ("item", items, 10)):
            newest = standard[(key == key[row]) & (clock < clock[row])][-count:]
            expected = (newest.sum() + mean_before(key, row, standard)) / (len(newest) + 1)
            assert found[f"{name}.mean.last{count}"][row, 0] == pytest.approx(expected, abs=1e-5)
        lately = above_item[(users == users[row]) & (clock < clock[row])][-20:]
        assert found["user.leniency.last20"][row, 0] == pytest.approx(shrunk(lately, 4.0), abs=1e-5)


@pytest.mark.parametrize("column", ["year", "@popularity"])
def test_taste_compares_an_item_with_what_the_user_chose_before(column: str) -> None:
    rated = example_dataset("time", "click")
    clicked = (np.asarray(rated.train["rating"]) >= 4).astype(np.float64)
    place = world(replace(rated, train=rated.train.with_columns({"rating": clicked})), "click")
    _, fitted = fitted_on(Taste, Taste.Config(column=column, strength=2.0, label="rating", prior=0.4, spread=0.5), place)
    found, name = read(fitted, place), "taste.items.year" if column == "year" else "taste.popularity"
    users, items, clock, positive = (np.asarray(place.events[name]) for name in ("@user", "@item", "@clock", "@positive"))
    if column == "year":
        years = np.asarray(place.sides.items["year"])
        known = years[1 : place.sides.item_ids.size]
        value = np.nan_to_num((years[items] - np.nanmean(known)) / np.nanstd(known))
    else:
        value = np.array([(np.log1p(((items == items[row]) & (clock < clock[row])).sum()) - 2) / 2 for row in range(len(clock))])
    assert 0 < positive.sum() < len(positive)
    for row in range(0, len(clock), 6):
        mean = shrunk(value[(users == users[row]) & (clock < clock[row]) & (positive == 1)], 2.0)
        assert found[f"{name}.mean"][row, 0] == pytest.approx(mean, abs=1e-5)
        gap = value[row] - mean
        assert found[f"{name}.gap"][row].tolist() == pytest.approx([max(gap, 0), max(-gap, 0)], abs=1e-5)
        weighted = (clicked - 0.4) / 0.5 * value
        slope = shrunk(weighted[(users == users[row]) & (clock < clock[row])], 2.0)
        assert found[f"{name}.fit"][row, 0] == pytest.approx(slope * value[row], abs=1e-5)


def test_columns_of_the_data_may_have_the_names_of_steps(timed: World) -> None:
    renamed = {"count": timed.events["device"], "mean": timed.events["rating"], "value": timed.events["rating"]}
    events, rng = timed.events.with_columns(renamed), np.random.default_rng(0)
    for op in (
        Groups(Groups.Config(keys=("count",), label="mean")),
        Taste(Taste.Config(column="@quality", label="value")),
        Bias(Bias.Config(label="value")),
    ):
        assert op.fit(events, timed.tables, rng).outputs


def test_factors_score_a_pair_by_the_low_rank_matrix_of_earlier_choices(timed: World) -> None:
    op, fitted = fitted_on(Factors, Factors.Config(rank=3), timed)
    found = read(fitted, timed)["user+item.factors"][:, 0]
    users, items, clock = (np.asarray(timed.events[name]) for name in ("@user", "@item", "@clock"))
    moments = op.config.moments
    assert len(moments) == 5
    assert clock.max() < moments[-1]
    assert not found[clock < moments[0]].any()
    for moment, end in pairwise(moments):
        matrix = np.zeros((users.max() + 1, items.max() + 1))
        matrix[users[clock < moment], items[clock < moment]] = 1.0
        scaled = matrix / np.sqrt(np.maximum(matrix.sum(axis=1), 1))[:, None] / np.sqrt(np.maximum(matrix.sum(axis=0), 1))
        left, values, right = np.linalg.svd(scaled)
        low = (left[:, :3] * values[:3]) @ right[:3]
        rows = (clock >= moment) & (clock < end)
        assert found[rows] == pytest.approx((low / np.sqrt((low**2).mean()))[users[rows], items[rows]], abs=1e-4)
    again, refitted = fitted_on(Factors, op.config, timed)
    assert again.config == op.config
    assert np.array_equal(read(refitted, timed)["user+item.factors"][:, 0], found)


def test_a_session_ends_where_the_gap_is_long(timed: World) -> None:
    config = Sessions.Config(gap=30.0, label="rating", prior=PRIOR, spread=SPREAD, strength=3.0)
    found = read(fitted_on(Sessions, config, timed)[1], timed)
    users, items, clock = (np.asarray(timed.events[name]) for name in ("@user", "@item", "@clock"))
    standard = (np.asarray(timed.events["rating"]) - PRIOR) / SPREAD
    base = np.array([shrunk(standard[(items == items[row]) & (clock < clock[row])], 5.0) for row in range(len(clock))])
    longest = 0
    for row in range(len(clock)):
        past = np.flatnonzero((users == users[row]) & (clock < clock[row]))
        inside: list[int] = []
        now = clock[row]
        for moment in np.unique(clock[past])[::-1]:
            if now - moment >= 30.0 * 3.6e12:
                break
            inside += [int(one) for one in past[clock[past] == moment]]
            now = moment
        longest = max(longest, len(inside))
        assert found["session.count"][row, 0] == pytest.approx((np.log1p(len(inside)) - 1) / 2, abs=1e-5)
        prior = shrunk((standard - base)[past], 5.0)
        mood = ((standard - base)[inside].sum() + 3.0 * prior) / (len(inside) + 3.0)
        assert found["session.leniency"][row, 0] == pytest.approx(mood, abs=1e-5)
        hours = (clock[row] - now) / 3.6e12
        assert found["session.age"][row].tolist() == pytest.approx([(np.log1p(hours) - 1) / 2, float(not inside)], abs=1e-5)
    assert longest >= 3


def test_leading_singular_vectors_of_a_large_matrix_are_those_of_the_whole_and_the_same_on_every_call() -> None:
    rng = np.random.default_rng(2)
    scales = np.concatenate([np.linspace(40.0, 12.0, 6), np.full(494, 1.0)])
    dense = np.linalg.qr(rng.normal(size=(700, 500)))[0] * scales @ np.linalg.qr(rng.normal(size=(500, 500)))[0].T
    left, values, right = leading(csr_matrix(dense), 6)
    exact = np.linalg.svd(dense)
    assert values == pytest.approx(exact[1][:6], rel=1e-6)
    assert left * values @ right.T == pytest.approx(exact[0][:, :6] * exact[1][:6] @ exact[2][:6], abs=1e-5)
    again = leading(csr_matrix(dense.copy()), 6)
    assert all(np.array_equal(one, other) for one, other in zip((left, values, right), again, strict=True))
