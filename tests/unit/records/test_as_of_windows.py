"""As-of tables read over windows, as ages, and by several keys an event; programs whose tables are keyed by what their steps make."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Program, ReadContext, Step, run_program

MEASURES = (Measure(), Measure("label", count=False))


@pytest.fixture(scope="module")
def events() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "@user": rng.integers(0, 5, 120),
        "@clock": np.sort(rng.integers(0, 40, 120)) * 10,
        "label": rng.integers(0, 2, 120).astype(np.float64),
        "bag": np.where(rng.random((120, 3)) < 0.6, np.array([[1, 2, 3]]) + rng.integers(0, 4, (120, 1)), 0),
    }


def test_a_window_holds_the_events_before_the_row_that_are_not_older_than_it(events: dict[str, np.ndarray]) -> None:
    table = AsOfTable.sums(events, 5, key="@user", measures=MEASURES)
    keys, times = np.repeat(np.arange(5), 45), np.tile(np.arange(0, 450, 10), 5)
    found = table.within(keys, times, 70)
    for key, time, value in zip(keys, times, found, strict=True):
        inside = (events["@user"] == key) & (events["@clock"] < time) & (events["@clock"] >= time - 70) & (key > 0)
        assert value.tolist() == [inside.sum(), events["label"][inside].sum()]
    at_end = table.within(np.arange(5), None, 70)
    assert np.array_equal(at_end, table.within(np.arange(5), np.full(5, table.end), 70))
    assert np.array_equal(at_end, table.within(np.arange(5), np.full(5, 2**62), 70))


@pytest.mark.parametrize("first", [False, True])
def test_an_age_is_the_time_since_the_last_or_the_first_event_before_the_row(events: dict[str, np.ndarray], first: bool) -> None:
    table = AsOfTable.sums(events, 5, key="@user", measures=MEASURES)
    keys, times = np.repeat(np.arange(5), 45), np.tile(np.arange(0, 450, 10), 5)
    for key, time, value in zip(keys, times, table.since(keys, times, first=first), strict=True):
        before = events["@clock"][(events["@user"] == key) & (events["@clock"] < time) & (key > 0)]
        assert np.isnan(value) if not len(before) else value == time - (before.min() if first else before.max())
    assert np.array_equal(table.since(np.arange(5), None), table.since(np.arange(5), np.full(5, table.end)), equal_nan=True)


def test_an_event_counts_once_for_each_of_its_keys(events: dict[str, np.ndarray]) -> None:
    table = AsOfTable.sums(events, 7, key="bag", measures=MEASURES)
    for key in range(1, 7):
        for time in (0, 95, 200, 1000):
            inside = ((events["bag"] == key) & (events["@clock"] < time)[:, None]).sum(axis=1)
            assert table.read(np.array([key]), np.array([time])).tolist() == [[inside.sum(), (inside * events["label"]).sum()]]


def by_pair() -> Program:
    """Counts of the pairs of user and each row of a bag, a mean over the bag."""
    steps = (
        Step("cross", ("@user", "bag"), "pair", {"size": 8}),
        Step("as_of", ("pair", "@clock"), "counts", {"table": "pairs"}),
        Step("pool", ("counts", "pair"), "out"),
    )
    blank = AsOfTable.sums({"pair": np.zeros(0, np.int64), "@clock": np.zeros(0, np.int64)}, 40, key="pair", measures=(Measure(),))
    return Program(("@user", "@clock", "bag"), steps, ("out",), tables={"pairs": blank})


def test_a_table_may_be_keyed_by_what_a_step_makes_and_folds_events_a_part_at_a_time(events: dict[str, np.ndarray]) -> None:
    program = by_pair()
    assert program.columns() == {"@user", "@clock", "bag"}
    whole = program.fold(events)
    early, late = ({name: column[part] for name, column in events.items()} for part in (slice(0, 70), slice(70, None)))
    again = program.fold(early).fold(late)
    stored = Program.load(json.loads(json.dumps(again.to_json())), again.stored())
    found = [run_program(made, events, ReadContext(120))["out"] for made in (whole, again, stored)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    for row in range(120):
        own = [(events["@user"][row], value) for value in events["bag"][row] if value]
        earlier = events["@clock"] < events["@clock"][row]
        counts = [((events["@user"] == user) & earlier & (events["bag"] == value).any(axis=1)).sum() for user, value in own]
        expected = np.mean(counts) if counts and events["@user"][row] else 0.0
        assert found[0][row, 0] == pytest.approx(expected)


def test_hashed_pairs_stay_inside_their_buckets_and_spread(events: dict[str, np.ndarray]) -> None:
    first, second = np.divmod(np.arange(10_000), 100)
    columns = {"a": first, "b": second}
    step = Step("cross", ("a", "b"), "row", {"size": 100, "buckets": 500})
    found = np.asarray(run_program(Program(("a", "b"), (step,), ("row",)), columns, ReadContext(10_000))["row"])
    assert (found[(first == 0) | (second == 0)] == 0).all()
    known = found[(first > 0) & (second > 0)]
    assert known.min() >= 1
    assert known.max() <= 500
    assert np.bincount(known, minlength=501)[1:].max() < 60  # 19.6 on average


LOW, HIGH = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # LOW is the missing clock
CLOCKS = (LOW, LOW + 1, LOW + 9, -5, 0, 7, 2**62 - 1, 2**62 + 3, HIGH - 9, HIGH - 1)
WINDOWS = (0, 1, 8, 2**62, HIGH, 2**65)  # the last is read as HIGH


def extreme() -> AsOfTable:
    """Two keys, an event at each of the clocks; those of key 2 count double, so that no two windows weigh the same by chance."""
    clocks, keys = np.tile(CLOCKS, 2), np.repeat([1, 2], len(CLOCKS))
    events = {"@user": keys, "@clock": clocks, "label": np.exp2(np.tile(np.arange(len(CLOCKS)), 2)) * keys}
    return AsOfTable.sums(events, 3, key="@user", measures=MEASURES)


def test_a_row_without_a_clock_has_nothing_before_it_however_it_asks() -> None:
    keys, missing = np.array([1, 2, 0]), np.full(3, LOW)
    for window in WINDOWS:
        assert not extreme().within(keys, missing, window).any()
    assert not extreme().read(keys, missing).any()
    assert not extreme().newest(keys, missing, 3).any()
    assert all(np.isnan(extreme().since(keys, missing, first=first)).all() for first in (False, True))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_is_exact_wherever_the_clock_stands(window: int) -> None:
    """Oracle: whole numbers of Python, which have no end."""
    moments = (*CLOCKS, LOW + 2, HIGH)
    for key in (1, 2):
        found = extreme().within(np.full(len(moments), key), np.array(moments), window)
        for time, value in zip(moments, found, strict=True):
            inside = [place for place, clock in enumerate(CLOCKS) if time - min(window, HIGH) <= clock < time]
            assert value.tolist() == [len(inside), sum(2.0**place * key for place in inside)], time


def test_a_window_at_the_end_counts_the_newest_event_even_at_the_last_moment_there_is() -> None:
    table = AsOfTable.sums({"@user": np.array([1, 1]), "@clock": np.array([0, HIGH])}, 2, key="@user", measures=(Measure(),))
    assert table.within(np.array([1]), None, 5).tolist() == [[1.0]]
    assert table.within(np.array([1]), None, 2**70).tolist() == [[2.0]]


def test_an_age_is_exact_over_the_whole_of_time_and_unknown_where_the_event_has_no_clock() -> None:
    clocks = np.array([LOW, LOW + 4, 10])
    table = AsOfTable.sums({"@user": np.array([1, 2, 2]), "@clock": clocks}, 3, key="@user", measures=(Measure(),))
    keys, times = np.array([1, 2, 2]), np.array([12, 12, HIGH])
    assert np.isnan(table.since(keys, times, first=True)[0])
    assert np.isnan(table.since(keys, times)[0])
    assert table.since(keys, times)[1:].tolist() == [2.0, float(HIGH - 10)]
    assert table.since(keys, times, first=True)[1:].tolist() == [float(12 - LOW - 4), float(HIGH - LOW - 4)]


def test_an_event_of_the_far_future_does_not_see_itself() -> None:
    far = 2**62 + np.array([1, 2, 3])
    table = AsOfTable.sums({"@user": np.ones(3, np.int64), "@clock": far}, 2, key="@user", measures=(Measure(),))
    keys = np.ones(3, np.int64)
    assert table.within(keys, far, 10)[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert table.newest(keys, far, 1)[:, 0].tolist() == [0.0, 1.0, 1.0]
    assert np.array_equal(table.since(keys, far), [np.nan, 1.0, 1.0], equal_nan=True)
