"""Properties S1 to S8 of the splits, on random tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.data import open_dataset
from autorec_kernel.data.splits import last_of_each, leave_one_out, random_rows, random_within, rank_from_end, temporal
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import CLOCK, MISSING_TIME, ORDER, TARGET, Dataset
from autorec_kernel.records.table import Coded

_START = 1_000_000_000
events = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 15), st.integers(0, 40)), min_size=30, max_size=120)


def _frame(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] += _START
    return frame


def _open(frame: pd.DataFrame, **options: Any) -> Dataset | None:
    try:
        return open_dataset(frame, **options)
    except DataError:
        return None


def _events(dataset: Dataset, part: str, frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(frame.iloc[dataset.row_ids[part]].itertuples(index=False, name=None))


def _column(dataset: Dataset, part: str, name: str) -> np.ndarray:
    dataset.test.fix_plan("test")
    table = {"train": dataset.train, "valid": dataset.valid}.get(part) or dataset.test.open("test")
    column = table[name]
    assert isinstance(column, np.ndarray)
    return column


@pytest.mark.parametrize("protocol", ["temporal", "leave-one-out", "random"])
@given(rows=events)
@settings(max_examples=25, deadline=None)
def test_parts_are_disjoint_and_with_the_dropped_rows_they_are_the_input(protocol: str, rows: list[tuple[int, int, int]]) -> None:
    frame = _frame(rows)
    dataset = _open(frame, protocol=protocol, deduplicate="none")
    if dataset is not None:
        ids = np.concatenate([dataset.row_ids[part] for part in ("train", "valid", "test")])
        assert sorted(ids.tolist()) == list(range(len(frame)))


@given(rows=events)
@settings(max_examples=40, deadline=None)
def test_global_time_never_runs_backwards_and_ties_never_straddle(rows: list[tuple[int, int, int]]) -> None:
    dataset = _open(_frame(rows), protocol="temporal", deduplicate="none")
    if dataset is not None:
        train, valid, test = (_column(dataset, part, CLOCK) for part in ("train", "valid", "test"))
        assert train.max() < valid.min() <= valid.max() < test.min()


@given(rows=events)
@settings(max_examples=40, deadline=None)
def test_leave_one_out_takes_exactly_the_latest_of_each_user_with_three_events(rows: list[tuple[int, int, int]]) -> None:
    frame = _frame(rows)
    dataset = _open(frame, protocol="leave-one-out", deduplicate="none")
    if dataset is None:
        return
    sizes = frame.groupby("user_id").size()
    tested = frame.iloc[dataset.row_ids["test"]]
    assert sorted(tested["user_id"]) == sorted(sizes[sizes >= 3].index)
    latest = frame.groupby("user_id")["timestamp"].max()
    assert (latest.loc[tested["user_id"]].to_numpy() == tested["timestamp"].to_numpy()).all()


@pytest.mark.parametrize("protocol", ["temporal", "random"])
@given(rows=events, seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_split_depends_on_the_rows_and_the_seed_not_on_their_order(protocol: str, rows: list[tuple[int, int, int]], seed: int) -> None:
    frame = _frame(rows)
    mixed = frame.sample(frac=1.0, random_state=seed)
    first, second = (_open(one, protocol=protocol, seed=seed, deduplicate="none") for one in (frame, mixed))
    if first is None or second is None:
        assert first is second
        return
    for part in ("train", "valid", "test"):
        assert _events(first, part, frame) == _events(second, part, mixed)


def test_another_seed_gives_another_random_split() -> None:
    frame = pd.DataFrame({"user_id": np.repeat(np.arange(20), 20), "item_id": np.tile(np.arange(20), 20)})
    first, second, again = (open_dataset(frame, seed=seed) for seed in (0, 1, 0))
    assert first.row_ids["test"].tolist() != second.row_ids["test"].tolist()
    assert first.row_ids["test"].tolist() == again.row_ids["test"].tolist()


@given(rows=events, later=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 15)), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_rows_after_a_given_cut_never_change_training(rows: list[tuple[int, int, int]], later: list[tuple[int, int]]) -> None:
    frame = _frame(rows)
    frame["split"] = np.where(np.arange(len(frame)) % 3 == 0, "test", "train")
    more = pd.DataFrame([(u, i, _START + 100, "test") for u, i in later], columns=frame.columns)
    for policy in ("none", "last"):
        first = _open(frame, deduplicate=policy)
        second = _open(pd.concat([frame, more], ignore_index=True), deduplicate=policy)
        if first is not None and second is not None:
            assert first.row_ids["train"].tolist() == second.row_ids["train"].tolist()
            assert first.row_ids["valid"].tolist() == second.row_ids["valid"].tolist()


def test_later_repetitions_do_not_take_a_pair_out_of_training() -> None:
    frame = _frame([(n % 5, n % 31, n) for n in range(100)] + [(n % 5, n % 31, 100 + n) for n in range(10)])
    dataset = open_dataset(frame, deduplicate="last")
    assert set(range(80)) <= set(dataset.row_ids["train"].tolist())
    assert "10 rows dropped: repeated (user, item) pair" in dataset.notes


def test_users_unseen_in_training_are_counted_in_the_notes() -> None:
    frame = _frame([(n % 5, n % 16, n) for n in range(80)] + [(7, n, 90 + n) for n in range(8)])
    dataset = open_dataset(frame)
    assert any("1 of" in note and "users of the test part do not occur in training" in note for note in dataset.notes)


def test_a_random_split_of_rows_covers_each_row_once_with_a_tenth_each() -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)
    assert np.bincount(random_rows(keys)).tolist() == [800, 100, 100]


def test_a_random_split_within_users_gives_a_tenth_overall_and_nothing_to_short_histories() -> None:
    rng = np.random.default_rng(0)
    user = np.concatenate([np.repeat(np.arange(400), 7), np.repeat(np.arange(400, 500), 2)])
    keys, user_keys = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (len(user), 500))
    part = random_within(user, keys, user_keys[user])
    counts = np.bincount(part[user < 400], minlength=3) / (400 * 7)
    assert abs(counts[1] - 0.1) < 0.02 and abs(counts[2] - 0.1) < 0.02
    assert (part[user >= 400] == 0).all()
    assert (np.bincount(user[part == 0], minlength=500) > 0).all()


@pytest.mark.parametrize("times", [[5] * 30, [5] * 15 + [6] * 15])
def test_too_few_different_times_are_an_error_not_an_empty_part(times: list[int]) -> None:
    with pytest.raises(DataError, match="different times"):
        temporal(np.array(times, dtype=np.int64))


def test_rows_without_a_time_train() -> None:
    clock = np.arange(100, dtype=np.int64)
    clock[50] = MISSING_TIME
    assert temporal(clock)[50] == 0


def test_the_cut_lies_at_the_80_and_90_percent_row_quantiles() -> None:
    assert np.bincount(temporal(np.arange(1000, dtype=np.int64))).tolist() == [800, 100, 100]


def test_users_whose_last_events_have_no_clock_only_train() -> None:
    user, order = np.array([0, 0, 0, 1, 1, 1]), np.arange(6)
    part = leave_one_out(user, order, np.array([True, True, True, False, False, True]))
    assert part.tolist() == [0, 1, 2, 0, 0, 0]


def test_the_last_row_of_each_user_with_two_rows_is_found() -> None:
    chosen = last_of_each(np.array([0, 0, 1, 2, 2]), np.array([4, 1, 2, 3, 0]), np.array([True, True, True, True, False]))
    assert chosen.tolist() == [True, False, False, False, False]


def test_rank_from_end_of_nothing_is_nothing() -> None:
    assert [len(part) for part in rank_from_end(np.zeros(0, np.int64), np.zeros(0, np.int64))] == [0, 0]


def test_events_of_equal_time_are_ordered_by_position_then_row() -> None:
    frame = pd.DataFrame({"user_id": [1] * 12 + [2] * 12, "item_id": list(range(12)) * 2, "timestamp": [_START] * 22 + [_START + 1] * 2})
    frame["position"] = [*range(11, -1, -1), *range(12)]
    dataset = open_dataset(frame, protocol="leave-one-out")
    assert dataset.row_ids["test"].tolist() == [0, 23]
    assert (np.diff(_column(dataset, "train", ORDER)) > 0).all()


def test_test_sessions_unseen_in_training_are_judged_on_their_last_event() -> None:
    frame = pd.DataFrame({"session_id": np.repeat(np.arange(20), 4), "item_id": np.arange(80) % 11, "position": np.tile([3, 1, 2, 4], 20)})
    frame["split"] = np.where(frame["session_id"] >= 15, "test", "train")
    dataset = open_dataset(frame)
    assert dataset.protocol.target == "last"
    judged = frame.iloc[dataset.row_ids["test"]][_column(dataset, "test", TARGET) == 1]
    assert sorted(judged["session_id"]) == [15, 16, 17, 18, 19]
    assert set(judged["position"]) == {4}
    assert set(frame.iloc[dataset.row_ids["valid"]]["position"]) == {4}


def test_sessions_in_time_are_judged_on_their_last_event_and_validated_inside_training() -> None:
    frame = pd.DataFrame({"session_id": np.repeat(np.arange(50), 4), "item_id": np.arange(200) % 13, "time": _START + np.arange(200)})
    dataset = open_dataset(frame)
    assert (dataset.protocol.split, dataset.protocol.target) == ("temporal", "last")
    assert _column(dataset, "train", CLOCK).max() < _column(dataset, "test", CLOCK).min()
    valid = frame.iloc[dataset.row_ids["valid"]]
    assert set(valid["session_id"]) <= set(frame.iloc[dataset.row_ids["train"]]["session_id"])


def test_given_without_validation_takes_the_last_of_each_training_user() -> None:
    frame = _frame([(n % 5, n % 16, n) for n in range(80)])
    frame["split"] = np.where(np.arange(80) < 60, "train", "test")
    dataset = open_dataset(frame)
    assert dataset.protocol.target == "all"
    assert dataset.row_ids["valid"].tolist() == [55, 56, 57, 58, 59]
    assert len(dataset.row_ids["test"]) == 20


def test_the_test_rows_are_sealed_until_the_plan_is_fixed_and_openings_are_recorded() -> None:
    dataset = open_dataset(_frame([(n % 5, n % 16, n) for n in range(80)]))
    with pytest.raises(Exception, match="sealed"):
        dataset.test.open("too early")
    assert dataset.test.openings == ()
    dataset.test.fix_plan("digest")
    assert dataset.test.open("final").rows == dataset.test.rows
    assert dataset.test.openings == ("final",)


def test_training_columns_do_not_tell_which_ids_the_test_part_holds() -> None:
    frame = _frame([(n % 5, n % 16, n) for n in range(80)] + [(99, 990 + n, 90 + n) for n in range(8)])
    dataset = open_dataset(frame)
    for name in ("user_id", "item_id"):
        column = dataset.train[name]
        assert isinstance(column, Coded)
        assert not {"99", "990", "997"} & set(column.values)
