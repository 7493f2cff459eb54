"""Users and items that only a side table names: their static features are read, everything else takes them for unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.testing.data import tiny_dataset

GONE = ("u06", "i07")  # a user and an item that training is not to know


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    full = tiny_dataset(task="rate")
    texts = full.train["user_id"].text(), full.train["item_id"].text()  # type: ignore[union-attr]
    kept = np.flatnonzero((texts[0] != GONE[0]) & (texts[1] != GONE[1]))
    return replace(full, train=full.train.take(kept).compact())


@pytest.fixture(scope="module")
def features(dataset: Dataset, kernel: Kernel) -> FeatureSet:
    return build_features(dataset, kernel, task="rate")


def test_events_of_strangers_read_their_side_features_and_are_unknown_otherwise(features: FeatureSet, dataset: Dataset) -> None:
    rows = features.rows("valid")
    users = np.array(features.entities.user_ids(features.parts["valid"].ints("@user_key")))
    theirs = rows[users == GONE[0]]
    assert len(theirs)
    assert (features.user_rows[theirs] == 0).all()
    told = features.row_inputs(["users.age"], rows)["users.age"]
    ages = dict(zip(dataset.users["user_id"].text(), np.asarray(dataset.users["age"]), strict=True))  # type: ignore[union-attr]
    known = np.array([ages[user] for user in users])
    order = np.argsort(known[np.isfinite(known)], kind="stable")
    assert (np.diff(told[np.isfinite(known), 0][order]) >= 0).all()
    assert (told[:, 1] == ~np.isfinite(known)).all()
    assert len(set(told[users == GONE[0], 0])) == 1
    assert (features.row_inputs(["user_id", "user.count"], theirs)["user_id"] == 0).all()


def test_a_stranger_reads_the_same_in_training_and_in_serving(features: FeatureSet) -> None:
    state = ServingState.load(features.state().meta(), features.state().arrays())
    users, items = state.keys_of("user", [GONE[0], "u05", "nobody", None]), state.keys_of("item", [GONE[1], "i08", "nothing", None])
    assert users[0] >= state.users.size
    assert items[0] >= state.items.size
    assert users[2:].tolist() == items[2:].tolist() == [0, 0]
    static = [name for name in features.static if features.schema[name].kind != "id"]
    found = state.inputs(static, users=users, items=items)
    for name in static:
        keys = users if features.schema[name].depends == "user" else items
        assert np.array_equal(found[name], np.asarray(features.static[name])[keys]), name
    assert not np.array_equal(found["users.age"][0], found["users.age"][2])


def test_what_is_learnt_of_strangers_is_nothing(features: FeatureSet, dataset: Dataset, kernel: Kernel) -> None:
    without = replace(dataset, users=dataset.users.take(np.flatnonzero(dataset.users["user_id"].text() != GONE[0])))  # type: ignore[union-attr]
    other = build_features(without, kernel, task="rate")
    assert other.schema == features.schema
    rows = features.rows("train")
    names = [feature.name for feature in features.schema.features if feature.kind != "history"]
    theirs, ours = other.row_inputs(names, rows), features.row_inputs(names, rows)
    assert all(np.array_equal(theirs[name], ours[name]) for name in names)


def test_what_strangers_did_earlier_in_validation_is_read_by_their_later_rows(features: FeatureSet) -> None:
    part, first = features.parts["valid"], features.rows("train").max() + 1
    users, clock = part.ints("@user_key"), part.ints("@clock")
    theirs = np.flatnonzero(users >= features.schema.users)
    assert len(theirs) == 2  # of one user, so that the second reads the first
    found = features.row_inputs(["user.count", "history"], first + theirs)
    for place, row in enumerate(theirs):
        earlier = ((users == users[row]) & (clock < clock[row])).sum()
        assert found["user.count"][place, 0] == pytest.approx((np.log1p(earlier) - 2) / 2)
        before = (users == users[row]) & (part.ints("@order") < part.ints("@order")[row])
        items = part.ints("@item")[before & (part.ints("@positive") != 0)]
        assert found["history"][place].tolist()[: len(items)] == items.tolist()
