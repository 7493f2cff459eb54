"""Ids keep their exact text on every way in."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autorec_kernel.data import files_fingerprint, open_dataset, read_source
from autorec_kernel.data.source import Raw
from autorec_kernel.data.understand import ids

_clean = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1, max_size=12).filter(str.strip)
_numbers = st.integers(-(2**70), 2**70).map(str) | st.integers(0, 999).map(lambda n: f"{n:06d}")
_ids = st.lists(_clean | _numbers | st.sampled_from(["NA", "null", "1e5", "1.0", "True", "-", " x", "x "]), min_size=1, max_size=30)


def _texts(raw: Raw, name: str = "user_id") -> list[Any]:
    return ids(raw.columns[name], name, "test").text().tolist()


@given(values=_ids)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_ids_make_a_lossless_round_trip(values: list[str], tmp_path: Path) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["user_id", "n"], *([value, "1"] for value in values)])
    path = tmp_path / "ids.csv"
    path.write_bytes(buffer.getvalue().encode("utf-8"))
    assert _texts(read_source(path)) == values


@given(values=_ids)
@settings(max_examples=40, deadline=None)
def test_frame_ids_are_the_same_whatever_the_string_dtype(values: list[str]) -> None:
    plain = pd.DataFrame({"user_id": pd.Series(values, dtype=object)})
    typed = pd.DataFrame({"user_id": pd.Series(values, dtype="string")})
    coded = pd.DataFrame({"user_id": pd.Series(values).astype("category")})
    assert [_texts(read_source(frame)) for frame in (plain, typed, coded)] == [values] * 3


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, 2, 1], ["1", "2", "1"]),
        ([1.0, np.nan, 2.0], ["1", None, "2"]),
        ([1.5, 2.0, 3.0], ["1.5", "2", "3"]),
        ([2**53 + 1, 2**62, -5], [str(2**53 + 1), str(2**62), "-5"]),
        (pd.array([2**53 + 1, None, 3], dtype="Int64"), [str(2**53 + 1), None, "3"]),
        (np.array([2**64 - 1, 1, 2], dtype=np.uint64), [str(2**64 - 1), "1", "2"]),
        ([1, "1", 1.0], ["1", "1", "1"]),
        ([2**70, 1, None], [str(2**70), "1", None]),
        (["a", None, float("nan")], ["a", None, None]),
        ([True, False, True], ["True", "False", "True"]),
        (["", "  ", "a"], [None, None, "a"]),
        (pd.Categorical([7, 8, 7]), ["7", "8", "7"]),
    ],
)
def test_typed_frame_columns_become_the_ids_a_person_would_write(column: Any, expected: list[Any]) -> None:
    assert _texts(read_source(pd.DataFrame({"user_id": column}))) == expected


def test_times_as_ids_keep_their_text() -> None:
    raw = read_source(pd.DataFrame({"user_id": pd.to_datetime(["2020-01-01", None, "2020-01-02"])}))
    assert _texts(raw)[1] is None
    assert _texts(raw)[0].startswith("2020-01-01")


def test_arrow_tables_are_read_as_they_are() -> None:
    assert _texts(read_source(pa.table({"user_id": ["07", None, "7"]}))) == ["07", None, "7"]


def test_equal_content_has_an_equal_fingerprint_and_a_changed_value_another() -> None:
    frame = pd.DataFrame({"user_id": ["a", "b"], "x": [1.0, 2.0]})
    changed = frame.assign(x=[1.0, 3.0])
    digests = [read_source(one).digest for one in (frame, frame.copy(), changed)]
    assert digests[0] == digests[1] != digests[2]


def test_a_frame_no_reader_knows_says_where_readers_are_listed() -> None:
    with pytest.raises(Exception, match="autorec plugins list --kind reader"):
        read_source(pl.DataFrame({"user_id": ["a"]}))


def test_a_changed_file_has_another_fingerprint_than_the_data_set_opened_from_it(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" + "".join(f"{n % 6},{n // 6}\n" for n in range(60)))
    dataset = open_dataset(path)
    assert files_fingerprint(path) == dataset.fingerprint
    path.write_text(path.read_text() + "1,77\n")
    assert files_fingerprint(path) != dataset.fingerprint
    assert files_fingerprint(pd.DataFrame({"a": [1]})) is None
