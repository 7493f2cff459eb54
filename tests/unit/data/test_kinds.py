from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Coded, Ragged

_N = 60


def _frame(**columns: Any) -> pd.DataFrame:
    keys = {"user_id": [n % 6 for n in range(_N)], "item_id": [n // 6 for n in range(_N)]}
    return pd.DataFrame({**keys, **columns})


def _column(dataset: Dataset, name: str) -> Column:
    return next(column for column in dataset.schema.columns if column.name == name)


def _cycle(*values: Any) -> list[Any]:
    return [values[n % len(values)] for n in range(_N)]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("age", _cycle("1", "18", "25", "56"), "numeric"),
        ("price", _cycle("1.5", "-2e3", "NA", ""), "numeric"),
        ("occupation", _cycle("1", "2", "20"), "categorical"),
        ("zip_code", _cycle("01234", "90210", "T8H1N"), "categorical"),
        ("shelf", _cycle("007", "7", "12"), "categorical"),
        ("C1", _cycle("68fd1e64", "80e26c9b", "25898320"), "categorical"),
        ("flag", _cycle(True, False), "categorical"),
        ("genres", _cycle("Action|Comedy", "Comedy", "Drama|Action"), "multi"),
        ("tags", _cycle("a; b", "b; c", "a"), "multi"),
        ("brackets", _cycle("['x', 'y']", "['y']", "[]"), "multi"),
        ("lists", _cycle(["a"], ["a", "b"], []), "multi"),
        ("item_list", _cycle([1, 2], [2], [3, 4]), "multi"),
        ("title", [f"The great story number {n} of all" for n in range(_N)], "text"),
        ("name", _cycle("Good, The Bad", "Toy Story"), "categorical"),
        ("released", _cycle("01-Jan-1995", "02-Feb-1996", ""), "time"),
        ("joined", pd.to_datetime(_cycle("2020-01-01", "2021-01-01")), "time"),
        ("vector", [[0.5, float(n)] for n in range(_N)], "vector"),
        ("array", [np.array([0.5, n, 1.0], dtype=np.float32) for n in range(_N)], "vector"),
        ("written", _cycle("[0.1, 0.2]", "[0.3, 1e-3]"), "vector"),
        ("comma", _cycle("3,5", "4,0"), "categorical"),
    ],
)
def test_the_kind_of_a_column_is_seen_from_its_values_and_explained(name: str, values: Any, kind: str) -> None:
    options = {"roles": {name: "feature"}} if kind == "time" else {}
    column = _column(open_dataset(_frame(**{name: values}), **options), name)
    assert (column.role, column.kind) == ("feature", kind)
    assert column.reason


@pytest.mark.parametrize(("name", "values"), [("same", _cycle("x")), ("none", _cycle(None)), ("event_id", [f"e{n}" for n in range(_N)])])
def test_columns_that_carry_nothing_are_set_aside_with_the_reason(name: str, values: Any) -> None:
    dataset = open_dataset(_frame(**{name: values}))
    assert _column(dataset, name).role == "ignore"
    assert _column(dataset, name).reason
    assert name not in dataset.train


def test_a_column_that_was_set_aside_comes_back_when_the_user_says_so() -> None:
    dataset = open_dataset(_frame(fold=_cycle(1, 2, 3)))
    again = open_dataset(_frame(fold=_cycle(1, 2, 3)), roles={"fold": "feature"})
    assert _column(dataset, "fold").role == "ignore"
    assert "--role fold=feature" in _column(dataset, "fold").reason
    assert _column(again, "fold").role == "feature"


def test_multi_values_are_split_trimmed_and_missing_ones_are_empty() -> None:
    dataset = open_dataset(_frame(tags=_cycle("a| b", None, "b|", "a|b|c")))
    tags = dataset.train["tags"]
    assert isinstance(tags, Ragged) and isinstance(tags.values, Coded)
    source = _cycle(["a", "b"], [], ["b"], ["a", "b", "c"])
    text = tags.values.text()
    read = [text[tags.offsets[row] : tags.offsets[row + 1]].tolist() for row in range(len(tags))]
    assert read == [source[row] for row in dataset.row_ids["train"]]


def test_infinite_numbers_become_missing_and_large_ones_stay() -> None:
    dataset = open_dataset(_frame(price=_cycle("inf", "1e308", "-inf", "0")))
    price = dataset.train["price"]
    assert isinstance(price, np.ndarray)
    assert np.nanmax(price) == 1e308
    assert not np.isinf(price).any()


@pytest.mark.parametrize(
    ("kind", "expected"), [("numeric", np.ndarray), ("categorical", Coded), ("text", Coded), ("multi", Ragged), ("time", np.ndarray)]
)
def test_a_kind_can_be_overruled(kind: str, expected: type) -> None:
    dataset = open_dataset(_frame(code=_cycle("1", "2", "3")), kinds={"code": kind})
    assert isinstance(dataset.train["code"], expected)
    assert (_column(dataset, "code").kind, _column(dataset, "code").reason) == (kind, "you said so")


def test_a_value_that_does_not_fit_a_forced_kind_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match="data row 2: 'big' is not a number"):
        open_dataset(_frame(size=_cycle("1", "big")), kinds={"size": "numeric"})


def test_the_kind_of_an_id_cannot_be_overruled() -> None:
    with pytest.raises(Exception, match="whose kind is always 'id'"):
        open_dataset(_frame(), kinds={"user_id": "numeric"})
