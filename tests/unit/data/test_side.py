from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Coded, Ragged

EVENTS = pd.DataFrame({"user_id": [n % 6 for n in range(60)], "movieId": [n // 6 for n in range(60)]})


def _open(**options: Any) -> Dataset:
    return open_dataset(EVENTS, **options)


def _texts(table: Any, name: str) -> list[Any]:
    column = table[name]
    assert isinstance(column, Coded)
    return column.text().tolist()


def test_side_tables_are_keyed_by_the_id_of_the_events() -> None:
    users = pd.DataFrame({"gender": list("MFMFMF"), "userId": [5, 4, 3, 2, 1, 0]})
    items = pd.DataFrame({"movie_id": range(12), "genres": ["a|b", "b"] * 6})
    dataset = _open(users=users, items=items)
    assert _texts(dataset.users, "userId") == ["5", "4", "3", "2", "1", "0"]
    assert dataset.items.rows == 12
    assert isinstance(dataset.items["genres"], Ragged)
    assert {(c.name, c.role) for c in dataset.schema.columns if c.source == "users"} == {("gender", "feature"), ("userId", "user")}


def test_the_key_is_found_by_its_values_when_no_name_tells() -> None:
    items = pd.DataFrame({"price": [1.5] * 6 + [2.5] * 6, "thing": range(12)})
    dataset = _open(items=items)
    assert next(c for c in dataset.schema.columns if c.name == "thing").role == "item"


def test_rows_without_an_id_are_dropped_and_the_first_of_repeated_ones_stays() -> None:
    users = pd.DataFrame({"user_id": ["0", None, "1", "1"], "age": [1, 2, 3, 4], "city": ["a", "b", "a", "b"]})
    dataset = _open(users=users)
    age = dataset.users["age"]
    assert _texts(dataset.users, "user_id") == ["0", "1"]
    assert list(age) == [1.0, 3.0]  # type: ignore[arg-type]
    assert sum("users table" in note for note in dataset.notes) == 2


def test_a_table_of_pairs_is_gathered_into_lists() -> None:
    items = pd.DataFrame({"movieId": [0, 1, 0, 2], "linked": ["x", "y", "z", None]})
    linked = _open(items=items).items["linked"]
    assert isinstance(linked, Ragged) and isinstance(linked.values, Coded)
    assert linked.offsets.tolist() == [0, 2, 3, 3]
    assert linked.values.text().tolist() == ["x", "z", "y"]


def test_a_table_that_shares_no_id_with_the_events_is_an_error_with_examples_of_both() -> None:
    with pytest.raises(DataError, match=r"no id of column 'user_id' occurs in the events \(here: '000'"):
        _open(users=pd.DataFrame({"user_id": ["000", "001"], "age": [1, 2]}))


def test_a_table_without_any_id_column_is_an_error() -> None:
    with pytest.raises(DataError, match="no column holds user ids"):
        _open(users=pd.DataFrame({"name": ["Ann", "Bob"], "age": [70, 80]}))


def test_side_columns_are_overruled_by_table_and_name() -> None:
    users = pd.DataFrame({"user_id": range(6), "code": list("121212")})
    items = pd.DataFrame({"movieId": range(12), "code": list("121212121212")})
    dataset = _open(users=users, items=items, kinds={"users.code": "numeric"}, roles={"items.code": "ignore"})
    found = {(c.source, c.kind, c.role) for c in dataset.schema.columns if c.name == "code"}
    assert found == {("users", "numeric", "feature"), ("items", "categorical", "ignore")}
    assert "code" not in dataset.items
