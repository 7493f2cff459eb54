from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import inspect, open_dataset
from autorec_kernel.data.names import normal
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.records.dataset import Dataset

_N = 60


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def _cycle(*values: Any) -> list[Any]:
    return [values[n % len(values)] for n in range(_N)]


USERS, ITEMS = [n % 6 for n in range(_N)], [n // 6 for n in range(_N)]


def _roles(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.role for column in dataset.schema.columns}


@pytest.mark.parametrize(
    ("name", "expected"), [("userId", "user_id"), ("User ID", "user_id"), ("USER_ID", "user_id"), ("HTTPCode", "http_code"), (" x ", "x")]
)
def test_names_are_compared_in_one_spelling(name: str, expected: str) -> None:
    assert normal(name) == expected


def test_roles_follow_the_names() -> None:
    frame = _frame(CustomerID=USERS, productId=ITEMS, Stars=_cycle(1, 2, 3), created_at=np.arange(_N) + 10**9, session_id=_cycle(1, 2))
    expected = {"CustomerID": "user", "productId": "item", "Stars": "label", "created_at": "time", "session_id": "session"}
    assert _roles(open_dataset(frame)) == expected


def test_a_session_serves_as_user_when_there_is_no_user() -> None:
    dataset = open_dataset(_frame(session_id=USERS, item_id=ITEMS))
    assert _roles(dataset)["session_id"] == "user"
    assert dataset.protocol.deduplicate == "none"


def test_the_only_other_id_column_is_the_item() -> None:
    assert _roles(open_dataset(_frame(user_id=USERS, gizmo_id=ITEMS, price=_cycle(1, 2))))["gizmo_id"] == "item"


def test_an_impression_rank_that_repeats_inside_a_user_is_no_position() -> None:
    dataset = open_dataset(_frame(user_id=USERS, item_id=ITEMS, rank=_cycle(1, 2)))
    assert _roles(dataset)["rank"] == "feature"
    assert dataset.protocol.split == "random"


@pytest.mark.parametrize("name", ["fold", "ua_test", "is_train"])
def test_split_helper_flags_are_neither_split_nor_feature(name: str) -> None:
    dataset = open_dataset(_frame(user_id=USERS, item_id=ITEMS, **{name: _cycle(0, 1)}))
    assert _roles(dataset)[name] == "ignore"
    assert dataset.protocol.split == "random"


def test_a_label_that_is_no_number_does_not_stop_a_recommendation_run() -> None:
    dataset = open_dataset(_frame(user_id=USERS, item_id=ITEMS, rating=_cycle("good", "bad")))
    assert _roles(dataset)["rating"] == "feature"


def test_roles_can_be_overruled() -> None:
    frame = _frame(a=USERS, b=ITEMS, c=_cycle(0, 1), user_id=_cycle(9))
    dataset = open_dataset(frame, task="click", roles={"a": "user", "b": "item", "c": "label", "user_id": "ignore"})
    assert _roles(dataset) == {"a": "user", "b": "item", "c": "label", "user_id": "ignore"}


def test_an_unknown_column_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'item_id'"):
        open_dataset(_frame(user_id=USERS, item_id=ITEMS), roles={"itemid": "item"})


def test_a_role_of_the_events_cannot_be_given_to_a_side_column() -> None:
    users = pd.DataFrame({"user_id": range(6), "age": [1, 2, 3, 4, 5, 6]})
    with pytest.raises(UsageError, match="not in the events"):
        open_dataset(_frame(user_id=USERS, item_id=ITEMS), users=users, roles={"age": "label"})


def test_inspection_shows_the_first_possible_task_and_what_the_others_lack() -> None:
    found = inspect(_frame(user_id=USERS, item_id=ITEMS))
    assert found.task == "recommend"
    assert found.tasks["recommend"] == ""
    assert "label" in found.tasks["rate"]
    assert (
        found.counts == {"users": 6, "items": 10, "train": 48, "valid": found.counts["valid"], "test": found.counts["test"]} or found.counts
    )
    assert found.to_json()["protocol"]["id"] == found.protocol.id  # type: ignore[union-attr]


def test_inspection_of_a_table_without_any_task_keeps_the_columns_and_the_problem() -> None:
    found = inspect(_frame(user_id=USERS, age=_cycle(20, 30)))
    assert found.task is None
    assert [column.name for column in found.schema.columns] == ["user_id", "age"]
    assert isinstance(found.problem, DataError)


def test_ids_that_look_alike_are_kept_apart_with_a_warning() -> None:
    dataset = open_dataset(_frame(user_id=_cycle("e\u0301", "\u00e9", "x", "x ", "y"), item_id=ITEMS))
    assert any("look alike" in note for note in dataset.notes)


def test_times_of_the_future_are_warned_about() -> None:
    dataset = open_dataset(_frame(user_id=USERS, item_id=ITEMS, timestamp=np.arange(_N) + 9 * 10**9))
    assert any("future" in note for note in dataset.notes)


def test_a_date_that_belongs_to_the_item_is_no_clock() -> None:
    released = [f"{1990 + item}-01-01" for item in ITEMS]
    seen = [f"2020-01-{1 + n % 28:02d}" for n in range(_N)]
    assert _roles(open_dataset(_frame(user_id=USERS, item_id=ITEMS, released=released)))["released"] == "feature"
    assert _roles(open_dataset(_frame(user_id=USERS, item_id=ITEMS, seen=seen)))["seen"] == "time"
