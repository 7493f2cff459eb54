"""New rows are read by the bundle's columns, and judged as the run judged its own test rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autorec_kernel.deploy.rows import _same_meaning, _seen
from autorec_kernel.records.vocabulary import Vocabulary


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
