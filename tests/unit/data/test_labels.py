from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.records.dataset import Dataset

_N = 120
ROLES = {"click": "label", "buy": "label"}


def _frame(**more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    click = rng.integers(0, 2, _N)
    base = {"user_id": np.arange(_N) % 8, "item_id": np.arange(_N) // 8, "buy": click * rng.integers(0, 2, _N), "click": click}
    return pd.DataFrame({**base, **more})


def _open(roles: dict[str, str] | None = None, task: str = "click", kinds: dict[str, str] | None = None, **more: Any) -> Dataset:
    return open_dataset(_frame(**more), task=task, roles=roles or ROLES, kinds=kinds)  # type: ignore[arg-type]


def _names(dataset: Dataset) -> list[str]:
    return [column.name for column in dataset.schema.labels]


@pytest.mark.parametrize("order", [("click", "buy"), ("buy", "click")])
def test_the_first_label_named_is_the_primary_one_wherever_it_stands_in_the_file(order: tuple[str, str]) -> None:
    dataset = _open(dict.fromkeys(order, "label"))
    primary = dataset.schema.role("label")
    assert primary is not None
    assert (primary.name, _names(dataset)) == (order[0], list(order))
    assert [column.name for column in dataset.schema.columns][:2] == ["user_id", "item_id"]


def test_further_labels_never_become_features() -> None:
    dataset = _open(minutes=np.arange(_N) % 7, device=[("a", "b")[n % 2] for n in range(_N)], roles={**ROLES, "minutes": "label"})
    assert [column.name for column in dataset.schema.features("events")] == ["device"]


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        ([0, 1, 1, 0], "categorical", 0.0),
        ([1.0, np.nan, 0.0, 1.0], "categorical", 1.0),
        (["yes", "no", "yes", None], "categorical", 1.0),
        (["50000+.", "- 50000.", "- 50000.", "- 50000."], "categorical", 1.0),
        ([True, False, True, True], "categorical", 1.0),
        ([1, 2, 1, 2], "numeric", 1.0),
        ([0.5, 3.25, 8.0, 0.5], "numeric", 0.5),
    ],
)
def test_the_values_of_a_further_label_say_what_its_task_predicts(values: list[Any], kind: str, first: float) -> None:
    dataset = _open({"click": "label", "more": "label"}, more=[values[n % 4] for n in range(_N)])
    column = dataset.schema.labels[1]
    assert (column.name, column.kind) == ("more", kind)
    rows = dataset.row_ids["train"]
    assert np.asarray(dataset.train["more"])[rows % 4 == 0][0] == first


def test_a_kind_overrules_what_the_values_say() -> None:
    dataset = _open(kinds={"buy": "numeric"})
    assert dataset.schema.labels[1].kind == "numeric"
    with pytest.raises(DataError, match="a click is 0 or 1"):
        _open({"click": "label", "stars": "label"}, kinds={"stars": "categorical"}, stars=np.arange(_N) % 5)
    with pytest.raises(UsageError, match="'buy' is a further label, whose kind is 'categorical'"):
        _open(kinds={"buy": "text"})


def test_rows_without_a_further_label_stay_and_rows_without_the_primary_one_leave() -> None:
    gaps = np.where(np.arange(_N) % 5 == 0, np.nan, np.arange(_N) % 2)
    kept = _open(gap=gaps, roles={"click": "label", "gap": "label"})
    assert sum(map(len, kept.row_ids.values())) == _N
    assert np.isnan(np.asarray(kept.train["gap"])).any()
    left = _open(gap=gaps, roles={"gap": "label", "click": "label"})
    assert sum(map(len, left.row_ids.values())) == int((~np.isnan(gaps)).sum())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1] * _N, "label column 'more' is constant"),
        ([None] * _N, "label column 'more' is empty"),
        (["a", "b", "c"] * (_N // 3), "column 'more', data row 1: 'a' is not a number"),
    ],
)
def test_a_further_label_with_nothing_to_predict_is_refused_with_the_way_out(values: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        _open({"click": "label", "more": "label"}, more=values)
    assert "--role more=ignore" in (caught.value.hint or "")


def test_the_split_of_the_rows_does_not_depend_on_a_further_label() -> None:
    one, other = _open({"click": "label", "buy": "ignore"}), _open()
    assert one.protocol.id == other.protocol.id
    assert all(np.array_equal(one.row_ids[name], other.row_ids[name]) for name in one.row_ids)


def test_the_test_labels_are_behind_the_seal() -> None:
    dataset = _open()
    assert {"click", "buy"} <= set(dataset.train)
    with pytest.raises(UsageError, match="sealed"):
        dataset.test.open("curiosity")


def test_other_roles_still_have_one_column() -> None:
    with pytest.raises(UsageError, match="two columns have the role 'user'"):
        _open({"user_id": "user", "item_id": "user"})
