"""Rows, users and pairs of a feature set: what they read, and when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.labels import label_range
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import ORDER
from autorec_kernel.testing.data import tiny_dataset

pytestmark = pytest.mark.plugins
Build = Callable[..., FeatureSet]
CLOCKS = ("time", "position", "none")


def names(features: FeatureSet) -> list[str]:
    return [feature.name for feature in features.schema.features]


def test_the_schema_names_the_entities_and_the_task(build: Build) -> None:
    schema = build("rate").schema
    assert (schema.user, schema.item, schema.users, schema.items) == ("user_id", "item_id", 41, 31)
    assert schema.tasks == {"rating": "value"} and build("click").schema.tasks == {"rating": "logit"}
    assert schema.label_range["rating"][:2] == (1.0, 5.0)
    assert schema["history"].vocabulary == schema["item_id"].vocabulary == "item"


def test_the_catalogue_is_sorted_by_id_text(build: Build) -> None:
    features = build()
    ids = features.entities.items.ids_of(np.arange(1, features.schema.items))
    assert ids == sorted(ids) and features.schema["item_id"].size == len(ids) + 1


@pytest.mark.parametrize("task", ["recommend", "rate", "click"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_rows_have_the_declared_shape_and_type_and_are_finite(build: Build, task: str, clock: str) -> None:
    features = build(task, clock, opened=True)
    rows = np.concatenate([features.rows(split)[:7] for split in ("train", "valid", "test")])
    for name, value in features.row_inputs(names(features), rows).items():
        feature = features.schema[name]
        width = {"id": (), "numeric": (feature.width,)}.get(feature.kind, (feature.width,))
        assert value.shape == (21, *width), name
        assert value.dtype == (np.float32 if feature.kind == "numeric" else np.int64)
        assert np.isfinite(value).all()
        assert feature.kind == "numeric" or (value.min() >= 0 and value.max() < feature.size)


@pytest.mark.parametrize("clock", CLOCKS)
def test_reading_many_rows_equals_one_by_one(build: Build, clock: str) -> None:
    features = build("rate", clock, opened=True)
    rows = np.random.default_rng(0).permutation(480)[:40]
    together = features.row_inputs(names(features), rows)
    for place, row in enumerate(rows):
        alone = features.row_inputs(names(features), np.array([row]))
        for name, value in together.items():
            if features.schema[name].kind == "bag":  # padded to the longest of its batch
                assert alone[name].shape[1] == max(1, (alone[name] != 0).sum())
                assert not value[place, alone[name].shape[1] :].any()
                value = value[:, : alone[name].shape[1]]
            assert alone[name][0].tobytes() == value[place].tobytes()


def test_no_rows_are_fine(build: Build) -> None:
    features = build("rate")
    empty = features.row_inputs(names(features), np.zeros(0, np.int64))
    assert all(len(value) == 0 for value in empty.values()) and empty["history"].shape == (0, 50)


def test_a_rolling_history_is_what_the_user_did_strictly_before_across_splits(build: Build) -> None:
    features = build("rate", opened=True)
    user, item = features.user_rows, features.item_rows
    history = features.row_inputs(["history"], np.arange(480), lengths={"history": 5})["history"]
    for row in range(480):
        before = item[:row][user[:row] == user[row]][-5:]
        assert history[row].tolist() == [*before, *[0] * (5 - len(before))]


def test_rolling_counts_do_not_see_events_of_the_same_moment(build: Build) -> None:
    features = build("rate", opened=True)
    clock = np.concatenate([part.ints("@clock") for part in features.parts.values()])
    seen = features.row_inputs(["item.count"], np.arange(480))["item.count"][:, 0]
    for row in (10, 200, 350, 430):
        before = ((features.item_rows == features.item_rows[row]) & (clock < clock[row])).sum()
        assert seen[row] == pytest.approx((np.log1p(before) - 2) / 2, abs=1e-6)


def test_recommend_reads_validation_and_test_rows_at_the_cut(build: Build) -> None:
    features = build("recommend", opened=True)
    cut = features.state().inputs(["history", "user.count"], users=features.user_rows)
    for split in ("valid", "test"):
        rows = features.rows(split)  # type: ignore[arg-type]
        found = features.row_inputs(["history", "user.count"], rows)
        assert np.array_equal(found["history"], cut["history"][rows])
        assert np.array_equal(found["user.count"], cut["user.count"][rows])


@pytest.mark.parametrize("task", ["recommend", "rate"])
def test_training_and_serving_give_the_same_bytes(build: Build, task: str) -> None:
    features = build(task)
    wanted = [f.name for f in features.schema.features if f.depends in ("user", "item")]
    users, items = np.arange(41), np.arange(41) % 31
    state = features.state().inputs(wanted, users=users, items=items)
    by_user = features.state().inputs([n for n in wanted if features.schema[n].depends == "user"], users=users)
    by_item = features.state().inputs([n for n in wanted if features.schema[n].depends == "item"], items=items)
    assert all({**by_user, **by_item}[name].tobytes() == state[name].tobytes() for name in wanted)


def test_the_state_after_validation_knows_validation(build: Build) -> None:
    features = build("recommend")
    later, now = features.state("valid"), features.state("train")
    assert later.chosen.sum() - now.chosen.sum() == len(features.rows("valid"))
    user = int(features.user_rows[features.rows("valid")[0]])
    assert len(later.seen_by(user)) > len(now.seen_by(user))
    newest = later.inputs(["history"], users=np.array([user]), lengths={"history": 1})["history"][0, 0]
    assert newest == later.history_of(user)[-1]


def test_the_state_after_validation_is_the_state_of_the_refitted_set(build: Build, kernel: Kernel) -> None:
    dataset = tiny_dataset(task="recommend")
    refitted = build_features(dataset.final(), kernel)
    folded = build("recommend").state("valid")
    for name in ("history", "user.count", "item.count"):
        ask = {"users": np.arange(41)} if name != "item.count" else {"items": np.arange(31)}
        assert np.array_equal(refitted.state().inputs([name], **ask)[name], folded.inputs([name], **ask)[name])  # type: ignore[arg-type]


def test_candidates_take_the_place_of_the_item_at_the_rows_moment(build: Build) -> None:
    features = build("rate")
    rows = features.rows("valid")[:6]
    own = features.item_rows[rows]
    candidates = np.stack([own, (own % 30) + 1], axis=1)
    pairs = features.pair_inputs(names(features), rows, candidates)
    for name, value in features.row_inputs(names(features), rows).items():
        assert np.array_equal(pairs[name][::2], value), name
        if features.schema[name].depends in ("row", "user"):
            assert np.array_equal(pairs[name][1::2], value), name
    assert pairs["item_id"].tolist() == candidates.ravel().tolist()


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_training_rows_own_item_reads_the_same_as_candidate_and_as_row(build: Build, clock: str) -> None:
    features = build("rate", clock)
    rows = features.sample_rows(50, np.random.default_rng(1))
    pairs = features.pair_inputs(["item.mean", "item.count"], rows, features.item_rows[rows][:, None])
    row = features.row_inputs(["item.mean", "item.count"], rows)
    assert all(pairs[name].tobytes() == row[name].tobytes() for name in row)


def test_candidates_of_users_read_the_cut_and_given_histories(build: Build) -> None:
    features = build("recommend")
    found = features.pair_inputs(
        ["history", "item_id", "user.count"],
        candidates=np.array([[1, 2], [3, 4]]),
        users=np.array([5, 0]),
        histories=[np.array([7]), np.array([8, 9])],
        lengths={"history": 2},
    )
    assert found["item_id"].tolist() == [1, 2, 3, 4]
    assert found["history"].tolist() == [[7, 0], [7, 0], [8, 9], [8, 9]]
    assert len(np.unique(found["user.count"])) == 2


def test_pair_inputs_need_candidates_and_one_context(build: Build) -> None:
    features = build("recommend")
    with pytest.raises(UsageError, match="either rows or users"):
        features.pair_inputs(["item_id"], candidates=np.array([[1]]))
    with pytest.raises(UsageError, match="candidates"):
        features.pair_inputs(["item_id"], np.array([0]))


def test_clicks_have_labels_of_zero_and_one_and_only_positive_interactions(build: Build) -> None:
    features = build("click")
    labels = features.labels("rating")
    train = features.rows("train")
    assert set(np.unique(labels)) == {0.0, 1.0}
    assert len(features.interactions.items) == labels[train].sum() == len(features.positive_rows())
    history = features.row_inputs(["history"], train)["history"]
    liked = {(u, i) for u, i, y in zip(features.user_rows, features.item_rows, labels, strict=True) if y}
    assert all((u, i) in liked for u, row in zip(features.user_rows[train], history, strict=True) for i in row[row > 0])


def test_ratings_are_the_labels_and_the_values_of_interactions(build: Build) -> None:
    features = build("rate")
    train = features.rows("train")
    dataset = tiny_dataset(task="rate")
    assert np.array_equal(features.labels()[train], np.asarray(dataset.train["rating"], np.float32))
    user = 7
    own = train[features.user_rows[train] == user]
    assert features.interactions.of(user).tolist() == features.item_rows[own].tolist()
    at = features.interactions.offsets[user]
    assert np.array_equal(features.interactions.values[at : at + len(own)], features.labels()[own])


def test_rows_without_a_label_are_dropped_for_rate_and_kept_for_recommend(kernel: Kernel) -> None:
    dataset = tiny_dataset(task="rate")
    rating = np.asarray(dataset.train["rating"]).copy()
    rating[:20] = np.nan
    from dataclasses import replace

    holey = replace(dataset, train=dataset.train.with_columns({"rating": rating}))
    assert len(build_features(holey, kernel, task="rate").rows("train")) == dataset.train.rows - 20
    assert len(build_features(holey, kernel, task="recommend").rows("train")) == dataset.train.rows


def test_the_stored_order_of_rows_does_not_matter(build: Build) -> None:
    plain, shuffled = build("rate", opened=True), build("rate", opened=True, order=np.random.default_rng(3).permutation(480))
    assert plain.digest == shuffled.digest
    everything = np.arange(480)
    one, two = (features.row_inputs(names(features), everything) for features in (plain, shuffled))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_the_data_set_is_left_as_it_was(kernel: Kernel) -> None:
    from autorec_kernel.testing.snapshots import digest

    dataset = tiny_dataset(task="rate")
    tables = [dataset.train, dataset.valid, dataset.users, dataset.items]
    before = digest(tables)
    build_features(dataset, kernel).state("valid")
    assert digest(tables) == before


def test_building_twice_gives_the_same_digest_and_other_data_another(build: Build) -> None:
    assert build("rate").digest == build("rate").digest != build("rate", seed=1).digest


def test_the_test_view_is_not_read_before_it_is_opened(kernel: Kernel) -> None:
    dataset = tiny_dataset()
    features = build_features(dataset, kernel)
    assert dataset.test.openings == ()
    with pytest.raises(UsageError, match="test rows are not"):
        features.rows("test")
    with pytest.raises(UsageError, match="not in this feature set"):
        features.row_inputs(["item_id"], np.array([470]))


def test_the_test_view_is_opened_once(build: Build) -> None:
    features = build("rate", opened=True)
    dataset = tiny_dataset(task="rate")
    dataset.test.fix_plan("x")
    with pytest.raises(UsageError, match="already"):
        features.open_test(dataset.test.open("again"))


def test_opening_the_test_view_changes_no_earlier_value(build: Build) -> None:
    closed, opened = build("rate"), build("rate", opened=True)
    rows = np.arange(int(0.85 * 480))
    one, two = (features.row_inputs(names(features), rows) for features in (closed, opened))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_unknown_names_offer_the_nearest(build: Build) -> None:
    features = build("rate")
    with pytest.raises(UnknownNameError, match="did you mean 'rating'"):
        features.labels("ratings")
    with pytest.raises(UnknownNameError, match="did you mean 'history'"):
        features.row_inputs(["histry"], np.array([0]))


def test_samples_are_training_rows_drawn_by_the_generator(build: Build) -> None:
    features = build("rate")
    drawn = features.sample_rows(30, np.random.default_rng(5))
    assert len(set(drawn.tolist())) == 30 and drawn.max() < len(features.rows("train"))
    assert np.array_equal(drawn, features.sample_rows(30, np.random.default_rng(5)))


def test_rows_are_numbered_in_order_of_time(build: Build) -> None:
    features = build("rate", opened=True)
    order = np.concatenate([part.ints(ORDER) for part in features.parts.values()])
    assert (np.diff(order) > 0).all()


def test_the_range_of_no_labels_is_zero() -> None:
    assert label_range(np.array([np.nan])) == (0.0, 0.0, 0.0)
