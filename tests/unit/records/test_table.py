from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, concat_columns


def _coded(codes: list[int], values: list[str]) -> Coded:
    return Coded(np.array(codes, np.int32), np.array(values, dtype=object))


RAGGED = Ragged(_coded([0, 1, 2, 0], ["a", "b", "c"]), np.array([0, 2, 2, 4], np.int64))


def _lists(column: ColumnData) -> list[list[str]]:
    assert isinstance(column, Ragged) and isinstance(column.values, Coded)
    text = column.values.text()
    return [text[column.offsets[row] : column.offsets[row + 1]].tolist() for row in range(len(column))]


def test_text_of_a_missing_value_is_none() -> None:
    assert _coded([1, -1, 0], ["a", "b"]).text().tolist() == ["b", None, "a"]


def test_counts_leave_missing_values_out() -> None:
    assert _coded([1, -1, 1], ["a", "b"]).counts().tolist() == [0, 2]


def test_compact_forgets_values_that_no_row_holds_and_changes_no_row() -> None:
    column = _coded([2, -1, 0], ["a", "b", "c"])
    assert column.compact().text().tolist() == column.text().tolist()
    assert column.compact().values.tolist() == ["a", "c"]
    table = Table({"x": column, "y": RAGGED, "z": np.zeros(3)}, 3).take(np.array([1])).compact()
    assert [len(values) for values in (table["x"].values, table["y"].values.values)] == [0, 0]  # type: ignore[union-attr]


def test_rows_are_taken_in_the_order_asked_for() -> None:
    table = Table({"x": _coded([0, 1, -1], ["a", "b"]), "y": RAGGED, "z": np.arange(3.0)}, 3).take(np.array([2, 0]))
    assert table["x"].text().tolist() == [None, "a"]  # type: ignore[union-attr]
    assert _lists(table["y"]) == [["c", "a"], ["a", "b"]]
    assert table["z"].tolist() == [2.0, 0.0]  # type: ignore[union-attr]


def test_joining_columns_merges_their_values() -> None:
    joined = concat_columns(_coded([0, -1], ["a"]), _coded([0, 1], ["b", "a"]))
    assert isinstance(joined, Coded)
    assert joined.text().tolist() == ["a", None, "b", "a"]
    assert sorted(joined.values) == ["a", "b"]
    assert _lists(concat_columns(RAGGED, RAGGED)) == _lists(RAGGED) * 2


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="column 'x' has 2 rows"):
        Table({"x": np.zeros(2)}, 3)


def test_columns_can_be_added_to_a_copy() -> None:
    table = Table({"x": np.zeros(2)}, 2)
    assert sorted(table.with_columns({"y": np.ones(2)})) == ["x", "y"]
    assert list(table) == ["x"]
