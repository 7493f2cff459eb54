"""As-of tables against a brute-force oracle, and the laws of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records.as_of import AsOfTable, Measure

KEYS = 5
EVENT = st.tuples(st.integers(0, KEYS - 1), st.integers(-3, 6), st.floats(-50, 50) | st.just(float("nan")), st.integers(1, 9))
EVENTS = st.lists(EVENT, max_size=40)
MEASURES = (Measure(), Measure("label"), Measure("label", count=False, shift=1.0, scale=0.5))


def columns(rows: list[tuple[int, int, float, int]]) -> dict[str, np.ndarray]:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    keys, clock, label, item = table.T
    return {
        "@user": keys.astype(np.int64),
        "@clock": clock.astype(np.int64),
        "@order": np.lexsort((np.arange(len(clock)), clock)).argsort(),
        "label": label,
        "@item": item.astype(np.int64),
    }


def sums(events: dict[str, np.ndarray]) -> AsOfTable:
    return AsOfTable.sums(events, KEYS, key="@user", measures=MEASURES)


def queries() -> tuple[np.ndarray, np.ndarray]:
    keys, times = np.meshgrid(np.arange(-1, KEYS + 1), np.arange(-4, 9))
    return keys.ravel(), times.ravel()


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_a_sum_is_what_happened_strictly_before(rows: list[tuple[int, int, float, int]]) -> None:
    events = columns(rows)
    keys, times = queries()
    expected = np.zeros((len(keys), 3))
    for place, (key, time) in enumerate(zip(keys, times, strict=True)):
        past = (events["@user"] == key) & (events["@clock"] < time) & (key > 0)
        known = events["label"][past & ~np.isnan(events["label"])]
        expected[place] = past.sum(), len(known), ((known - 1.0) * 0.5).sum()
    found = sums(events).read(keys, times)
    assert np.array_equal(found[:, :2], expected[:, :2])
    assert found[:, 2] == pytest.approx(expected[:, 2], abs=1e-5)


def test_many_measures_are_read_as_few_are() -> None:
    events = columns([(key, key, value, 1) for key in range(1, KEYS) for value in (0.25, -3.5, 7.0)])
    keys, times = queries()
    many = AsOfTable.sums(events, KEYS, key="@user", measures=MEASURES * 3)
    np.testing.assert_array_equal(many.read(keys, times), np.hstack([sums(events).read(keys, times)] * 3))
    np.testing.assert_array_equal(many.latest(keys), np.hstack([sums(events).latest(keys)] * 3))


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.integers(1, 6))
def test_a_sequence_is_the_last_items_before_oldest_first_padded_on_the_right(rows: list[tuple[int, int, float, int]], length: int) -> None:
    events = columns(rows)
    table = AsOfTable.sequence(events, KEYS)
    by_order = np.argsort(events["@order"])
    for key in range(KEYS):
        for order in range(len(rows) + 1):
            past = [i for i in by_order if events["@user"][i] == key and events["@order"][i] < order and key > 0][-length:]
            expected = [*events["@item"][past], *[0] * (length - len(past))]
            assert table.read(np.array([key]), np.array([order]), length).tolist() == [expected]


@settings(max_examples=150, deadline=None)
@given(EVENTS, EVENTS, st.integers(-3, 6))
def test_changing_any_event_at_or_after_t_changes_nothing_read_at_t(before: list, after: list, t: int) -> None:  # type: ignore[type-arg]
    past = [event for event in before if event[1] < t]
    poison = [(key, max(time, t), label * 1e6, item) for key, time, label, item in after]
    keys = np.arange(KEYS)
    times = np.full(KEYS, t)
    clean, poisoned = columns(past), columns(past + poison)
    assert np.array_equal(sums(clean).read(keys, times), sums(poisoned).read(keys, times))
    order = np.full(KEYS, len(past))
    assert np.array_equal(AsOfTable.sequence(clean, KEYS).read(keys, order, 4), AsOfTable.sequence(poisoned, KEYS).read(keys, order, 4))


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.data())
def test_folding_gives_the_bytes_of_a_table_built_at_once(rows: list[tuple[int, int, float, int]], data: st.DataObject) -> None:
    events = columns(rows)
    late = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    first, second = ({name: column[part] for name, column in events.items()} for part in (~late, late))
    for build in (sums, lambda e: AsOfTable.sequence(e, KEYS)):
        once, folded = build(events), build(first).fold(second)
        keys, times = queries()
        assert np.array_equal(once.read(keys, times, 5), folded.read(keys, times, 5))
        assert np.array_equal(once.offsets, folded.offsets) and np.array_equal(once.times, folded.times)


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_reading_many_equals_one_by_one_and_latest_equals_reading_now(rows: list[tuple[int, int, float, int]]) -> None:
    events = columns(rows)
    keys, times = queries()
    for table in (sums(events), AsOfTable.sequence(events, KEYS)):
        together = table.read(keys, times, 3)
        alone = np.concatenate([table.read(keys[i : i + 1], times[i : i + 1], 3) for i in range(len(keys))])
        assert np.array_equal(together, alone)
        assert np.array_equal(table.latest(keys, 3), table.read(keys, np.full(len(keys), 2**62), 3))
        assert np.array_equal(table.trimmed(3).latest(keys, 3), table.latest(keys, 3))


def test_a_table_without_a_clock_always_answers_with_its_end_and_folds_nothing() -> None:
    events = columns([(1, 0, 1.0, 3), (1, 5, 2.0, 4)])
    table = AsOfTable.sums(events, KEYS, key="@user", time="", measures=(Measure(),))
    assert table.read(np.array([1]), np.array([-9])).tolist() == [[2.0]]
    assert table.fold(events) is table


def test_events_that_do_not_count_are_left_out() -> None:
    events = {**columns([(1, 0, 1.0, 3), (1, 1, 2.0, 4)]), "@positive": np.array([0, 1])}
    assert AsOfTable.sequence(events, KEYS, where="@positive").latest(np.array([1]), 2).tolist() == [[4, 0]]


def test_sums_do_not_round_with_what_other_keys_hold() -> None:
    small = [(1, t, 0.1, 1) for t in range(10)]
    alone, among = sums(columns(small)), sums(columns([(2, 0, 50.0, 1)] * 1000 + small))
    keys, times = np.full(11, 1), np.arange(11)
    assert np.array_equal(alone.read(keys, times), among.read(keys, times))


def test_huge_labels_stay_finite() -> None:
    table = sums(columns([(1, 0, 1e308, 1), (1, 1, -1e308, 1), (1, 2, float("inf"), 1)]))
    assert np.isfinite(table.latest(np.array([1]))).all()


def test_a_given_history_tells_counts_of_events_and_nothing_else() -> None:
    assert sums(columns([])).given(np.array([4])).tolist() == [[4.0, 0.0, 0.0]]


def test_a_table_survives_storage() -> None:
    table = sums(columns([(1, 0, 1.5, 3), (2, 5, 2.0, 4)]))
    arrays = {f"t.{name}": array for name, array in table.arrays().items()}
    back = AsOfTable.load(table.to_json(), arrays, "t.")
    assert np.array_equal(back.latest(np.arange(KEYS)), table.latest(np.arange(KEYS))) and back.measures == table.measures


def test_keys_and_offsets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ContractError, match="outside its 5 keys"):
        sums(columns([(KEYS, 0, 1.0, 1)]))
    with pytest.raises(BundleError, match="damaged"):
        AsOfTable(np.array([0, 3]), np.zeros(2, np.int64), np.zeros((2, 1), np.int64))


def test_many_keys_are_sorted_like_few() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(1, 200_000, 3000)
    events = {"@user": keys, "@clock": rng.integers(0, 9, 3000)}
    table = AsOfTable.sums(events, 200_000, key="@user", measures=(Measure(),))
    times = np.full(3000, 4)
    counts = {key: int(((keys == key) & (events["@clock"] < 4)).sum()) for key in keys[:50]}
    assert table.read(keys[:50], times[:50])[:, 0].tolist() == [counts[key] for key in keys[:50]]
