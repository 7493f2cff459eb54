"""What a recommender may be given: every plain kind of id, arrays as columns, and an error that says what to do for everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_toys import profiled, write_toy
from test_fold import live, timed_state

from autorec_kernel.errors import UsageError
from autorec_kernel.records.table import Coded, Ragged
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.given import arrays_of, misread, texts_of

WHEN = {"when": np.array([30, 31])}


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    folder = tmp_path_factory.mktemp("given") / "b"
    profile = profiled(timed_state(), ("history",), ["u1", "u2"], ["i01", "i02"], {})
    write_toy(folder, "scores", live=live(), state=timed_state(), drift=profile)
    return Recommender.load(folder)


def test_ids_of_every_plain_kind_are_the_texts_of_training() -> None:
    given = [1, np.int32(2), 3.0, np.float64(4.5), "x", None, float("nan"), True]
    assert texts_of(given, "user") == ["1", "2", "3", "4.5", "x", None, None, "True"]
    assert texts_of(np.array([7, 8]), "user") == ["7", "8"]
    assert texts_of(Coded(np.array([0, -1], np.int32), np.array(["a"], dtype=object)), "item") == ["a", None]
    assert texts_of(None, "item") is None


@pytest.mark.parametrize("ids", ["12", b"12", 12, {"a": 1}, [["1"], ["2"]], [b"1"], [object()]])
@pytest.mark.parametrize("verb", ["fold", "drift", "predict"])
def test_what_is_no_list_of_ids_is_refused(recommender: Recommender, verb: str, ids: Any) -> None:
    with pytest.raises(UsageError, match=r"list of ids|and no id") as caught:
        getattr(recommender, verb)(ids, ["i01", "i02"], WHEN)
    assert caught.value.hint


@pytest.mark.parametrize("columns", [{"when": [30, 31]}, {"when": "no"}, [1, 2], {**WHEN, "more": (1, 2)}])
@pytest.mark.parametrize("verb", ["fold", "drift", "predict"])
def test_columns_that_are_no_arrays_are_refused_by_name(recommender: Recommender, verb: str, columns: Any) -> None:
    with pytest.raises(UsageError, match=r"'when' is|'more' is|columns is") as caught:
        getattr(recommender, verb)(["u1", "u2"], ["i01", "i02"], columns)
    assert "read_rows" in caught.value.hint


def test_times_of_numpy_are_nanoseconds(recommender: Recommender) -> None:
    times = np.array(["1970-01-01T00:00:01", "NaT"], dtype="M8[s]")
    assert arrays_of({"when": times})["when"].tolist() == [10**9, np.iinfo(np.int64).min]  # type: ignore[union-attr]
    later = recommender.fold([1, "u1"], ["i39", "i40"], {"when": np.array([30, 31]).astype("M8[ns]")})
    assert later.state.seen_by(1)[-1] == 40


@pytest.mark.parametrize(
    ("column", "kind", "told"),
    [
        (Coded(np.zeros(2, np.int32), np.array(["x"], dtype=object)), "numeric", "holds texts, and was numeric in training"),
        (Coded(np.full(2, -1, np.int32), np.array([], dtype=object)), "time", "holds no value at all, and was time in training"),
        (Coded(np.full(2, -1, np.int32), np.array([], dtype=object)), "categorical", ""),
        (Ragged(np.zeros(0), np.zeros(3, np.int64)), "id", "holds lists, and was id in training"),
        (np.array([1.5, 2.0]), "time", "holds numbers, and was time in training"),
        (np.array([True, False]), "numeric", ""),
    ],
)
def test_a_column_of_another_form_is_told(column: Any, kind: str, told: str) -> None:
    assert misread(column, kind) == told
