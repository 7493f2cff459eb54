from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import CLOCK, MISSING_TIME, ORDER

_N = 120
KEYS = {"user_id": [n % 6 for n in range(_N)], "item_id": [n // 6 for n in range(_N)]}
TIME = {"timestamp": np.arange(_N) + 10**9}
POSITION = {"position": [n // 6 for n in range(_N)]}
SPLIT = {"split": ["train" if n < 100 else "test" for n in range(_N)]}


def _frame(*parts: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: values for part in (KEYS, *parts) for name, values in part.items()})


@pytest.mark.parametrize(
    ("parts", "split", "clock"),
    [
        ((SPLIT, TIME, POSITION), "given", "time"),
        ((TIME, POSITION), "temporal", "time"),
        ((POSITION,), "leave-one-out", "position"),
        ((), "random", "none"),
    ],
)
def test_the_default_protocol_is_the_first_that_the_columns_allow(parts: Any, split: str, clock: str) -> None:
    protocol = open_dataset(_frame(*parts)).protocol
    assert (protocol.split, protocol.clock, protocol.state) == (split, clock, "cut")
    assert protocol.reason


@pytest.mark.parametrize("wanted", ["temporal", "leave-one-out", "random"])
def test_the_protocol_can_be_chosen(wanted: str) -> None:
    protocol = open_dataset(_frame(SPLIT, TIME, POSITION), protocol=wanted).protocol
    assert (protocol.split, protocol.clock) == (wanted, "time")


def test_a_protocol_that_the_columns_do_not_allow_names_what_is_missing_and_one_that_works() -> None:
    with pytest.raises(DataError, match=r"(?s)needs a time column.*--protocol leave-one-out works"):
        open_dataset(_frame(POSITION), protocol="temporal")


def test_ratings_and_clicks_are_judged_on_the_rolling_state() -> None:
    frame = _frame(TIME, {"label": [n % 2 for n in range(_N)]})
    assert open_dataset(frame, task="click").protocol.state == "rolling"
    assert open_dataset(frame, task="rate").protocol.state == "rolling"


def test_one_percent_of_missing_clocks_is_borne_and_comes_first() -> None:
    stamps = TIME["timestamp"].astype(float)
    stamps[60] = np.nan
    dataset = open_dataset(_frame({"timestamp": stamps}))
    clock, order = dataset.train[CLOCK], dataset.train[ORDER]
    assert dataset.protocol.split == "temporal"
    assert clock[0] == MISSING_TIME and order[0] == 0  # type: ignore[index]
    assert dataset.row_ids["train"][0] == 60


def test_the_protocol_id_names_every_choice() -> None:
    dataset = open_dataset(_frame({"rating": [n % 5 for n in range(_N)]}), positive_threshold=2.5, seed=3)
    assert dataset.protocol.id == "random/clock=none/state=cut/dedup=last/positive=2.5/target=all/seed=3"
    assert "72 rows dropped: label below the positive threshold 2.5" in dataset.notes


def test_repetitions_are_kept_where_they_are_the_signal() -> None:
    frame = pd.concat([_frame(TIME)] * 3, ignore_index=True)
    assert open_dataset(frame).protocol.deduplicate == "none"
    assert open_dataset(_frame(TIME)).protocol.deduplicate == "last"


def test_the_last_of_conflicting_ratings_stays() -> None:
    frame = pd.concat([_frame({"rating": [1.0, 2.0] * 60}), _frame({"rating": [5.0] * _N}).head(20)], ignore_index=True)
    dataset = open_dataset(frame, task="rate")
    rows = np.concatenate([dataset.row_ids[part] for part in ("train", "valid", "test")])
    assert sorted(rows.tolist()) == list(range(20, 140))


def test_training_tables_hold_order_and_clock_oldest_first() -> None:
    frame = _frame(TIME).iloc[::-1]
    dataset = open_dataset(frame)
    for table in (dataset.train, dataset.valid):
        assert (np.diff(table[ORDER]) > 0).all()  # type: ignore[arg-type]
        assert (np.diff(table[CLOCK]) >= 0).all()  # type: ignore[arg-type]


def test_the_final_data_set_adds_validation_to_training_in_order() -> None:
    dataset = open_dataset(_frame(TIME))
    final = dataset.final()
    assert final.train.rows == dataset.train.rows + dataset.valid.rows
    assert final.valid.rows == 0
    assert (np.diff(final.train[ORDER]) > 0).all()  # type: ignore[arg-type]


def test_clicks_without_user_and_item_are_split_by_row() -> None:
    frame = pd.DataFrame({"label": [n % 2 for n in range(100)], "a": np.arange(100) % 7, "b": [f"v{n % 3}" for n in range(100)]})
    dataset = open_dataset(frame, task="click")
    assert [dataset.train.rows, dataset.valid.rows, dataset.test.rows] == [80, 10, 10]
    assert dataset.schema.role("user") is None


@pytest.mark.parametrize(
    ("label", "positives"), [(["yes", "no"], 60), ([2, 1], 60), ([True, False], 60), (["50000+", "- 50000", "- 50000"], 40)]
)
def test_two_valued_labels_become_clicks(label: list[Any], positives: int) -> None:
    frame = _frame({"label": (label * _N)[:_N]})
    dataset = open_dataset(frame, task="click")
    dataset.test.fix_plan("test")
    parts = (dataset.train, dataset.valid, dataset.test.open("count"))
    assert sum(float(np.sum(part["label"])) for part in parts) == positives  # type: ignore[arg-type]


def test_a_threshold_makes_clicks_of_ratings() -> None:
    dataset = open_dataset(_frame({"rating": [1 + n % 5 for n in range(_N)]}), task="click", positive_threshold=4)
    assert set(np.unique(dataset.train["rating"])) == {0.0, 1.0}  # type: ignore[arg-type]
    assert "positive=4" in dataset.protocol.id


def test_a_clock_that_stands_still_gives_way_to_random_and_says_so() -> None:
    frame = _frame({"timestamp": [10**9] * _N})
    dataset = open_dataset(frame)
    assert dataset.protocol.split == "random"
    assert "'temporal', which cannot be made (a temporal split needs at least 3 different times" in dataset.protocol.reason
    assert any(note.startswith("protocol: ") and "'random' takes its place" in note for note in dataset.notes)
    with pytest.raises(DataError, match="at least 3 different times"):
        open_dataset(frame, protocol="temporal")


def test_a_clock_that_stands_still_gives_way_to_leave_one_out_where_positions_order_the_events() -> None:
    dataset = open_dataset(_frame({"timestamp": [10**9] * _N}, POSITION))
    assert dataset.protocol.split == "leave-one-out"
    rows = dataset.row_ids["test"]
    assert sorted(rows.tolist()) == list(range(_N - 6, _N))


def test_leave_one_out_that_leaves_no_test_rows_gives_way_only_when_nobody_asked_for_it() -> None:
    frame = pd.DataFrame(
        {"user_id": [n // 2 for n in range(40)], "item_id": [n % 7 for n in range(40)], "position": [n % 2 for n in range(40)]}
    )
    with pytest.raises(DataError, match="protocol 'leave-one-out' leaves no"):
        open_dataset(frame, protocol="leave-one-out")
    with pytest.raises(DataError, match=r"(?s)protocol 'random' leaves no.*give more events"):
        open_dataset(frame)
