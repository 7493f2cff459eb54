"""New rows are read by the bundle's columns, and judged as the run judged its own test rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.deploy.drift import drift_report
from autorec_kernel.deploy.rows import _same_meaning, _seen, read_rows
from autorec_kernel.errors import DataError
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.vocabulary import Vocabulary

COLUMNS = Schema(
    (
        Column("user_id", "user", "id"),
        Column("item_id", "item", "id"),
        Column("age", "feature", "numeric"),
        Column("colour", "feature", "categorical"),
        Column("mood", "feature", "categorical"),
    )
)
FRAME = pd.DataFrame({"colour": ["red", None], "userId": ["a", "b"], "new": [1, 2], "age": [30, 40], "item_id": ["x", "y"]})


def bundle_of(task: str = "click") -> Any:
    """A recommender whose model reads age and colour; it hands back what it is asked about drift."""
    state = SimpleNamespace(reads=lambda names: {"age", "colour", "@user"})
    return SimpleNamespace(
        task=task,
        state=state,
        graph=SimpleNamespace(inputs=()),
        schema={"columns": COLUMNS.to_json()},
        drift=lambda users, items, columns: (users, items, columns),
    )


def test_columns_beside_those_of_the_bundle_are_ignored_in_any_order() -> None:
    rows = read_rows(FRAME, bundle_of())
    assert (rows.users, rows.items, sorted(rows.columns)) == (["a", "b"], ["x", "y"], ["age", "colour"])
    assert read_rows(FRAME[FRAME.columns[::-1]], bundle_of()).columns["age"].tolist() == [30, 40]  # type: ignore[union-attr]


def test_every_missing_column_that_the_model_reads_is_named_at_once() -> None:
    with pytest.raises(DataError, match="lacks 'user_id', 'age', 'colour', which the bundle reads; found item_id"):
        read_rows(FRAME[["item_id"]], bundle_of())
    with pytest.raises(DataError, match="lacks 'colour'") as caught:
        read_rows(FRAME.drop(columns="colour"), bundle_of())
    assert "empty column" in caught.value.hint


def test_a_ranking_of_the_catalogue_needs_the_ids_alone() -> None:
    assert read_rows(FRAME[["userId", "item_id"]], bundle_of("recommend")).count == 2


def test_drift_reads_any_table_as_far_as_it_goes() -> None:
    users, items, columns = drift_report(FRAME.assign(age=["old", "30"]), bundle_of())  # type: ignore[misc]
    assert (users, items, sorted(columns)) == (["a", "b"], ["x", "y"], ["age", "colour", "new"])
    assert columns["age"].text().tolist() == ["old", "30"]
    assert drift_report(FRAME[["age"]], bundle_of())[:2] == (None, None)  # type: ignore[index]


@pytest.mark.parametrize("columns", [["userId", "movieId"], ["movieId", "userId"], ["rating", "movieId", "userId"]])
def test_a_renamed_column_is_found_by_its_meaning_whatever_the_order(columns: list[str]) -> None:
    assert _same_meaning("user", columns) == "userId"
    assert _same_meaning("item", columns) == "movieId"


@pytest.mark.parametrize("columns", [["item_id", "userId"], ["user_id"], ["a", "b"], ["user_id", "movie_id", "item_id"]])
def test_a_column_of_another_meaning_or_two_of_the_same_are_not_guessed(columns: list[str]) -> None:
    found = _same_meaning("item", columns)
    assert found == ("item_id" if columns == ["item_id", "userId"] else None)


def test_pairs_of_the_training_events_are_recognised_and_strangers_are_not() -> None:
    state = SimpleNamespace(
        users=Vocabulary.of(["a", "b"]),
        items=Vocabulary.of(["x", "y", "z"]),
        seen=(np.array([0, 0, 2, 3]), np.array([1, 3, 2], np.int32)),
    )
    users = np.array(["a", "a", "a", "b", "nobody", "a"], dtype=object)
    items = np.array(["x", "y", "z", "y", "x", "new"], dtype=object)
    assert _seen(state, users, items).tolist() == [True, False, True, True, False, False]  # type: ignore[arg-type]
