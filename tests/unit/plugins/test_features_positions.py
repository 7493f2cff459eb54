"""Where only the order inside a user is known: of the user what is strictly before the row, of others what their folds say of the items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import autorec_features.plugin
from autorec_features.bias import Bias
from autorec_features.leanings import Leanings
from autorec_features.sessions import Sessions
from autorec_features.taste import Taste
from autorec_kernel.features import audit, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.table import Coded, Ragged
from autorec_kernel.testing.checks.feature_leaks import check_own_future_changes_no_past
from autorec_kernel.testing.data import tiny_dataset
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, proposals_of, read, world

LABELLED = {"label": "rating", "prior": 3.0, "spread": 2.0}
OWN = (
    (Bias, Bias.Config(clock="position", strength=4.0, **LABELLED)),
    (Leanings, Leanings.Config(clock="position", keys=("@user", "items.genres"), **LABELLED)),
    (Leanings, Leanings.Config(clock="position", keys=("@user", "device"), **LABELLED)),
    (Taste, Taste.Config(column="year", **LABELLED)),
)


@pytest.fixture(scope="module")
def place() -> World:
    return world(example_dataset("position", "rate"), "rate")


def own_past(place: World, row: int) -> np.ndarray:
    users, clock = np.asarray(place.events["@user"]), np.asarray(place.events["@clock"])
    return np.flatnonzero((users == users[row]) & (clock < clock[row]))


def shrunk(values: np.ndarray, strength: float, prior: float = 0.0) -> float:
    return float((values.sum() + strength * prior) / (len(values) + strength))


@pytest.fixture(scope="module")
def others(place: World) -> np.ndarray:
    """What users of other folds than the row's, eight folds in all, say of each item: float64 [row, item], shrunk by five labels."""
    users, items = np.asarray(place.events["@user"]), np.asarray(place.events["@item"])
    standard, found = (np.asarray(place.events["rating"]) - 3.0) / 2.0, np.zeros((len(users), items.max() + 1))
    for row in range(len(users)):
        seen = users % 8 != users[row] % 8
        share = seen.mean()
        for item in range(1, items.max() + 1):
            labels = standard[seen & (items == item)]
            found[row, item] = labels.sum() / share / (len(labels) / share + 5.0)
    return found


def training(op: Any, config: Any, place: World) -> dict[str, np.ndarray]:
    """Return the values of the training rows as models read them."""
    fitted = op(config).fit(place.events, place.tables, np.random.default_rng(0))
    program = read(fitted_on(op, config, place)[1], place)
    return {**program, **(fitted.training_values(place.events) or {})}


def test_a_users_leniency_is_measured_against_what_others_say_of_the_items(place: World, others: np.ndarray) -> None:
    found = training(*OWN[0], place)
    items, standard = np.asarray(place.events["@item"]), (np.asarray(place.events["rating"]) - 3.0) / 2.0
    for row in range(0, place.events.rows, 3):
        past = own_past(place, row)
        leniency = shrunk(standard[past] - others[row, items[past]], 4.0)
        assert found["user.leniency"][row, 0] == pytest.approx(leniency, abs=1e-5)
        assert found["user+item.mean"][row, 0] == pytest.approx(leniency + others[row, items[row]], abs=1e-5)


def test_the_newest_labels_of_a_user_need_no_other_clock(place: World) -> None:
    fitted = fitted_on(*OWN[0], place)[1]
    found = read(fitted, place)
    assert set(found) == {"user.mean.last1", "user.mean.last5", "user.mean.last20", "user.leniency", "user+item.mean"}
    assert {feature.name for feature in fitted.features if feature.depends == "user"} == {name for name in found if ".last" in name}
    standard = (np.asarray(place.events["rating"]) - 3.0) / 2.0
    for row in range(0, place.events.rows, 3):
        past = standard[own_past(place, row)]
        for count in (1, 5, 20):
            expected = shrunk(past[-count:], 1.0, shrunk(past, 4.0))
            assert found[f"user.mean.last{count}"][row, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("keys", [("@user", "items.genres"), ("@user", "device")])
def test_a_users_leaning_is_the_mean_residual_of_the_category_shrunk_to_the_users_own(
    place: World, others: np.ndarray, keys: tuple[str, str]
) -> None:
    config = Leanings.Config(clock="position", keys=keys, strength=3.0, **LABELLED)
    found = training(Leanings, config, place)
    items = np.asarray(place.events["@item"])
    column = place.sides.items["genres"] if "genres" in keys[1] else place.events["device"]
    texts = _texts(column)
    of = [texts[item] for item in np.asarray(place.events["@item"])] if "genres" in keys[1] else texts
    standard = (np.asarray(place.events["rating"]) - 3.0) / 2.0
    for row in range(0, place.events.rows, 3):
        past = own_past(place, row)
        residual = standard[past] - others[row, items[past]]
        prior, each = shrunk(residual, 5.0), []
        for value in of[row]:
            times = np.array([of[n].count(value) for n in past])
            each.append((float((times * residual).sum()) + 3.0 * prior) / (times.sum() + 3.0))
        name = "+".join(key.lstrip("@") for key in keys)
        for out, pool in (("mean", np.mean), ("best", max), ("worst", min)):
            if f"{name}.{out}" in found:
                expected = others[row, items[row]] + (pool(each) if each else 0.0)
                assert found[f"{name}.{out}"][row, 0] == pytest.approx(expected, abs=1e-5), (row, out)
    assert (f"{name}.best" in found) == ("genres" in keys[1])


def test_taste_of_a_column_reads_the_users_own_past(place: World) -> None:
    found = read(fitted_on(Taste, Taste.Config(column="year", strength=2.0, **LABELLED), place)[1], place)
    years = np.asarray(place.sides.items["year"])
    known = years[1 : place.sides.item_ids.size]
    value = np.nan_to_num((years[np.asarray(place.events["@item"])] - np.nanmean(known)) / np.nanstd(known))
    positive = np.asarray(place.events["@positive"]) == 1
    for row in range(0, place.events.rows, 3):
        past = own_past(place, row)
        assert found["taste.items.year.mean"][row, 0] == pytest.approx(shrunk(value[past[positive[past]]], 2.0), abs=1e-5)


@pytest.mark.parametrize(("op", "config"), OWN)
def test_no_label_of_the_users_fold_reaches_a_row_but_his_own_earlier_ones(op: Any, config: Any, place: World) -> None:
    train, users = place.dataset.train, np.asarray(place.events["@user"])
    clock, fold = np.asarray(place.events["@clock"]), users % 8 == 4
    rows = np.flatnonzero((users == 4) & (clock <= 6))
    before = training(op, config, place)
    touched = fold & ((users != 4) | (clock >= 6))
    rating = np.where(touched, 6.0 - np.asarray(train["rating"]), np.asarray(train["rating"]))
    other = world(replace(place.dataset, train=train.with_columns({"rating": rating})), "rate")
    after = training(op, config, other)
    assert len(rows) >= 6
    for name, values in before.items():
        assert np.array_equal(values[rows], after[name][rows]), name
    assert any(not np.array_equal(values[fold], after[name][fold]) for name, values in before.items())
    check_own_future_changes_no_past(op, config)


@pytest.mark.parametrize("column", ["@popularity", "@quality"])
def test_taste_of_what_others_say_reads_the_users_own_past(place: World, others: np.ndarray, column: str) -> None:
    found = training(Taste, Taste.Config(column=column, clock="position", strength=2.0, **LABELLED), place)
    users, items = np.asarray(place.events["@user"]), np.asarray(place.events["@item"])
    positive = np.asarray(place.events["@positive"]) == 1
    for row in range(0, place.events.rows, 9):
        seen = users % 8 != users[row] % 8
        counts = np.bincount(items[seen], minlength=items.max() + 1) / seen.mean()
        value = 1.5 * others[row] if column == "@quality" else (np.log1p(counts) - 2.0) / 2.0
        past = own_past(place, row)
        assert found[f"taste.{column[1:]}.mean"][row, 0] == pytest.approx(shrunk(value[items[past[positive[past]]]], 2.0), abs=1e-5)


def test_what_mixes_users_is_not_proposed() -> None:
    assert {p.config.column for clock, _, p in proposals_of(Taste) if clock == "position"} == {
        "year",
        "title:year",
        "@popularity",
        "@quality",
    }  # type: ignore[attr-defined]
    assert {p.config.keys[0] for clock, _, p in proposals_of(Leanings) if clock == "position"} == {"@user"}  # type: ignore[attr-defined]
    assert {clock for clock, _, _ in proposals_of(Sessions)} == {"time"}
    assert "none" not in {clock for op in (Bias, Leanings, Taste) for clock, _, _ in proposals_of(op)}


@pytest.mark.parametrize("task", ["rate", "click", "recommend"])
def test_the_audit_is_silent(task: Any) -> None:
    kernel, data = Kernel({"features": autorec_features.plugin}), tiny_dataset(task=task, clock="position")
    features = build_features(data, kernel, task=task)
    taken = {row["op"] for row in features.plan if row["taken"]}
    assert taken >= {"features/bias", "features/leanings", "features/taste"}
    report = audit(data, features, kernel)
    assert report.findings == []
    assert report.judged["future"] >= 4


def _texts(column: Any) -> list[tuple[str, ...]]:
    if isinstance(column, Coded):
        return [(text,) if text is not None else () for text in column.text()]
    assert isinstance(column, Ragged)
    values = column.values.text()  # type: ignore[union-attr]
    return [tuple(values[a:b]) for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
