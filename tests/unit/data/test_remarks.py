from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.records.dataset import Dataset

_N = 60


def _open(name: str, values: list[Any], *, more: dict[str, Any] | None = None, **options: Any) -> Dataset:
    keys = {"user_id": [n % 6 for n in range(_N)], "item_id": [n // 6 for n in range(_N)], **(more or {})}
    return open_dataset(pd.DataFrame({**keys, name: [values[n % len(values)] for n in range(_N)]}), **options)


def _notes(dataset: Dataset, name: str) -> list[str]:
    return [note for note in dataset.notes if note.startswith(f"column {name!r}")]


@pytest.mark.parametrize(
    "values", [["week 1", "week 2"], ["2023-W04", "2023-W05", "2023-W06"], ["99/99/2023 10:00 PM", "98/98/2023 1:00 AM"]]
)
def test_a_column_named_like_a_time_that_is_none_is_named_with_its_effect(values: list[str]) -> None:
    dataset = _open("timestamp", values)
    (note,) = _notes(dataset, "timestamp")
    assert dataset.protocol.split == "random"
    assert values[0] in note
    assert "order of the events is unknown" in note
    assert "ISO 8601" in note and "--role COLUMN=time" in note and "--kind timestamp=KIND" in note


def test_nothing_is_said_of_a_time_that_is_read_or_declared_or_stands_beside_the_clock() -> None:
    assert not _notes(_open("timestamp", ["2020-01-01", "2020-01-02", "2020-01-03"]), "timestamp")
    assert not _notes(_open("timestamp", ["week 1", "week 2"], kinds={"timestamp": "categorical"}), "timestamp")
    assert not _notes(_open("date", ["week 1", "week 2"], more={"timestamp": [10**9 + n for n in range(_N)]}), "date")


def test_with_positions_the_order_is_not_called_unknown() -> None:
    (note,) = _notes(_open("timestamp", ["week 1", "week 2"], more={"position": [n // 6 for n in range(_N)]}), "timestamp")
    assert "unknown" not in note and "no clock" in note


@pytest.mark.parametrize(
    ("name", "values"),
    [("clicked", ["TRUE", "FALSE"]), ("liked", [1, 0]), ("label", ["0", "1"]), ("liked", [True, False]), ("label", ["yes", "no"])],
)
def test_answers_that_all_count_as_positives_are_named_with_options_that_work(name: str, values: list[Any]) -> None:
    dataset = _open(name, values)
    (note,) = _notes(dataset, name)
    assert "count as positives" in note and "--positive-threshold 1" in note and "--task click" in note
    assert (f"--role {name}=label" in note) == (dataset.schema.role("label") is None)
    half = _open(name, values, roles={name: "label"}, positive_threshold=1)
    assert sum(len(rows) for rows in half.row_ids.values()) == _N // 2
    assert not _notes(half, name)
    assert _open(name, values, task="click", positive_threshold=1).schema.role("label") is not None
    assert _open(name, values, task="click").schema.role("label") is not None


@pytest.mark.parametrize(("name", "values"), [("liked", ["a", "b"]), ("label", [1, 2, 3]), ("weekend", ["TRUE", "FALSE"])])
def test_other_columns_are_not_taken_for_answers(name: str, values: list[Any]) -> None:
    assert not _notes(_open(name, values), name)


def test_a_column_of_answers_that_was_declared_a_feature_is_left_in_peace() -> None:
    assert not _notes(_open("clicked", ["TRUE", "FALSE"], roles={"clicked": "feature"}), "clicked")
