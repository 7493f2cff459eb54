from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.data.times import parse_times
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.table import Coded


def _coded(*values: str) -> Coded:
    distinct = sorted(set(values))
    return Coded(np.array([distinct.index(value) for value in values], np.int32), np.array(distinct, dtype=object))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("881250949", "1997-12-04T15:55:49"),
        ("881250949000", "1997-12-04T15:55:49"),
        ("881250949000000", "1997-12-04T15:55:49"),
        ("881250949000000123", "1997-12-04T15:55:49.000000123"),
        ("1260759144.5", "2009-12-14T02:52:24.5"),
        ("20150430", "2015-04-30"),
        ("2015-04-30", "2015-04-30"),
        ("2015-04", "2015-04-01"),
        ("2015/4/3", "2015-04-03"),
        ("2015-04-30T23:30:00Z", "2015-04-30T23:30:00"),
        ("2015-04-30 23:30", "2015-04-30T23:30:00"),
        ("2015-04-30T23:30:00.250+02:00", "2015-04-30T21:30:00.250"),
        ("2015-04-30T23:30:00-0530", "2015-05-01T05:00:00"),
        ("01-Jan-1995", "1995-01-01"),
        ("5 March 1995", "1995-03-05"),
        ("Mar 5, 1995", "1995-03-05"),
        ("09 13, 2009", "2009-09-13"),
        ("30.04.2015", "2015-04-30"),
        ("30/04/2015 10:00", "2015-04-30T10:00:00"),
        ("04/30/2015", "2015-04-30"),
        ("11/14/2023 10:13 PM", "2023-11-14T22:13"),
        ("11/14/2023 12:13:05 am", "2023-11-14T00:13:05"),
        ("11/14/2023 12:13\u202fp.m.", "2023-11-14T12:13"),
        ("14/11/2023 9:05AM", "2023-11-14T09:05"),
        ("14-Nov-23", "2023-11-14"),
        ("3-Feb-98 14:00", "1998-02-03T14:00"),
        ("-86400", "1969-12-31"),
        ("2016-02-29", "2016-02-29"),
    ],
)
def test_every_usual_form_becomes_nanoseconds_since_1970_utc(value: str, expected: str) -> None:
    found = parse_times(_coded(value))
    assert found is not None
    assert found.ns.view("M8[ns]").tolist() == np.array([expected], dtype="M8[ns]").tolist()


@pytest.mark.parametrize(
    "value", ["soon", "2015-13-01", "2015-02-30", "99/99/2015", "2500-01-01", "NA", "11/14/2023 13:13 PM", "11/14/2023 0:13 AM"]
)
def test_what_is_no_time_is_not_read_as_one(value: str) -> None:
    assert parse_times(_coded(value)) is None


def test_missing_tokens_are_missing_and_wrong_values_are_counted_with_their_row() -> None:
    found = parse_times(_coded("2015-01-01", "NA", "2015-02-30", "2015-01-02"))
    assert found is not None
    assert (found.ns == MISSING_TIME).tolist() == [False, True, True, False]
    assert (found.bad, found.bad_row) == (1, 3)


def test_one_day_above_twelve_decides_the_order_of_slashes_for_the_column() -> None:
    found = parse_times(_coded("01/02/2014", "13/02/2014"))
    assert found is not None
    assert found.ns.view("M8[ns]").astype("M8[D]").astype(str).tolist() == ["2014-02-01", "2014-02-13"]
    assert parse_times(_coded("01/02/2014")).form == "month/day/year, month first assumed"  # type: ignore[union-attr]


def test_the_column_decides_the_order_of_slashes_with_a_twelve_hour_clock_too() -> None:
    days = parse_times(_coded("01/02/2014 01:00 PM", "13/02/2014 01:00 AM"))
    unsure = parse_times(_coded("01/02/2014 01:00 PM", "03/02/2014 01:00 AM"))
    assert days is not None and unsure is not None
    assert days.ns.view("M8[ns]").astype("M8[h]").astype(str).tolist() == ["2014-02-01T13", "2014-02-13T01"]
    assert unsure.ns.view("M8[ns]").astype("M8[h]").astype(str).tolist() == ["2014-01-02T13", "2014-03-02T01"]
    assert unsure.form == "month/day/year, month first assumed"


@given(st.lists(st.integers(-(2**31), 2**33), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_iso_text_of_any_second_makes_a_round_trip(seconds: list[int]) -> None:
    stamps = np.array(seconds, dtype="M8[s]")
    kept = stamps[(stamps > np.datetime64("1678-01-01")) & (stamps < np.datetime64("2261-12-31"))]
    found = parse_times(_coded(*(f"{stamp}Z" for stamp in kept.astype(str)))) if len(kept) else None
    if found is not None:
        assert found.ns.tolist() == kept.astype("M8[ns]").view(np.int64).tolist()


def test_typed_times_and_plain_arrays_are_read() -> None:
    typed = parse_times(np.array(["2020-01-01", "NaT"], dtype="M8[ns]"))
    plain = parse_times(np.array([1.5e9, np.nan]))
    assert typed is not None and typed.ns[1] == MISSING_TIME
    assert plain is not None and plain.ns.tolist() == [1_500_000_000_000_000_000, MISSING_TIME]
    assert parse_times(np.zeros((2, 2), dtype=np.float32)) is None
