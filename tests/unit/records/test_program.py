"""Programs: known answers of every step, missing values, and the round trip through JSON and arrays."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.steps import STEPS
from autorec_kernel.records.table import Coded, Ragged, take_column
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.testing.data import coded, ragged

HOUR = 3_600_000_000_000
IDS = {f"ids.{name}": array for name, array in Vocabulary.of(["a", "b", "c"]).arrays().items()}


def run(op: str, *columns: Any, arrays: dict[str, np.ndarray] | None = None, rows: int | None = None, **params: Any) -> Any:
    names = tuple(f"c{i}" for i in range(max(len(columns), 1)))
    program = Program(names, (Step(op, names, "out", params),), ("out",), arrays or {})
    given_columns = dict(zip(names, columns, strict=False))
    return run_program(program, given_columns, ReadContext(len(columns[0]) if rows is None else rows))["out"]


def test_lookup_gives_rows_and_zero_for_unseen_and_missing() -> None:
    assert run("lookup", coded(["b", "zzz", None, "a"]), arrays=IDS, vocabulary="ids").tolist() == [2, 0, 0, 1]


def test_lookup_leaves_the_column_as_it_was() -> None:
    column = coded(["b", "c"])
    before = column.codes.copy(), column.values.copy()
    run("lookup", column, arrays=IDS, vocabulary="ids")
    assert np.array_equal(column.codes, before[0]) and np.array_equal(column.values, before[1])


def test_hash_is_stable_over_processes_and_releases() -> None:
    assert run("hash", coded(["x", "y", None]), buckets=1000, salt="s").tolist() == [985, 878, 0]  # b2sum -l 64, little endian


def test_bucketize_counts_edges_at_or_below() -> None:
    edges = {"e": np.array([0.0, 10.0])}
    assert run("bucketize", np.array([-1.0, 0.0, 9.9, 10.0, np.nan]), arrays=edges, edges="e").tolist() == [1, 2, 2, 3, 0]


def test_affine_log1p_clip_and_ratio_follow_their_formulas() -> None:
    assert run("affine", np.array([3.0]), shift=1.0, scale=0.5).tolist() == [[1.0]]
    assert run("log1p", np.array([np.e - 1, 1 - np.e])) == pytest.approx(np.array([[1.0], [-1.0]]))
    assert run("clip", np.array([-9.0, 9.0]), low=-1, high=2).tolist() == [[-1.0], [2.0]]
    assert run("ratio", np.array([6.0]), np.array([4.0]), strength=2, prior=3).tolist() == [[2.0]]


def test_fill_replaces_and_flags_missing_values() -> None:
    assert run("fill", np.array([np.nan, 5.0]), value=7, indicator=True).tolist() == [[7.0, 1.0], [5.0, 0.0]]
    vectors = np.array([[np.nan, 1.0]], dtype=np.float32)
    assert run("fill", vectors, arrays={"v": np.array([4.0, 5.0])}, value="v").tolist() == [[4.0, 1.0]]
    assert run("fill", arrays={"v": np.array([4.0, 5.0])}, rows=2, value="v").tolist() == [[4.0, 5.0]] * 2


@pytest.mark.parametrize(("part", "expected"), [("hour", 19), ("weekday", 5), ("day", 14), ("month", 7), ("quarter", 3)])
def test_calendar_parts_start_at_one(part: str, expected: int) -> None:
    moment = np.datetime64("2017-07-14T18:30", "ns").astype(np.int64)  # a Friday
    assert run("calendar", np.array([moment, np.iinfo(np.int64).min]), part=part).tolist() == [expected, 0]


def test_calendar_agrees_with_numpy_before_1970_and_far_ahead() -> None:
    times = np.arange("1931-03-01", "2105-01-01", 997, dtype="datetime64[h]").astype("datetime64[ns]")
    months = times.astype("datetime64[M]").astype(np.int64) % 12 + 1
    assert run("calendar", times.astype(np.int64), part="month").tolist() == months.tolist()


def test_cyclic_parts_repeat_after_whole_weeks() -> None:
    times = np.arange(5) * 31 * HOUR
    week = 7 * 24 * HOUR
    for part in ("hour", "weekday"):
        assert np.array_equal(run("calendar", times, part=part, cyclic=True), run("calendar", times + 3 * week, part=part, cyclic=True))


def test_bag_keeps_the_first_known_values_in_order() -> None:
    column = ragged([["c", "x", "a", "b"], [], ["b"]])
    assert run("bag", column, arrays=IDS, vocabulary="ids", width=2).tolist() == [[3, 1], [0, 0], [2, 0]]


def test_bag_reads_a_text_column_as_lists_of_one() -> None:
    assert run("bag", coded(["c", None]), arrays=IDS, vocabulary="ids", width=2).tolist() == [[3, 0], [0, 0]]


def test_gather_reads_row_zero_for_rows_that_do_not_exist() -> None:
    table = {"t": np.array([[9.0], [1.0]])}
    assert run("gather", np.array([1, -1, 2]), arrays=table, table="t").tolist() == [[1.0], [9.0], [9.0]]


def test_cross_numbers_pairs_without_collision_and_keeps_unknown() -> None:
    first, second = np.meshgrid(np.arange(3), np.arange(4))
    rows = run("cross", first.ravel(), second.ravel(), size=4)
    known = (first.ravel() > 0) & (second.ravel() > 0)
    assert sorted(rows[known].tolist()) == list(range(1, 7)) and not rows[~known].any()


def test_match_tells_places_in_a_sorted_array_and_zero_for_what_is_not_there() -> None:
    known = {"v": np.array([3, 7, 2**40], dtype=np.int64)}
    assert run("match", np.array([7, 2**40, 0, 8, 2**41, -3]), arrays=known, values="v").tolist() == [2, 3, 0, 0, 0, 0]
    assert run("match", np.array([0, 5]), arrays={"v": np.zeros(0, np.int64)}, values="v").tolist() == [0, 0]
    assert run("match", rows=2, arrays=known, values="v").tolist() == [0, 0]


def test_concat_and_dot_work_row_by_row() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    assert run("concat", x, np.array([5.0, 6.0])).tolist() == [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]
    assert run("dot", x, x).tolist() == [[5.0], [25.0]]


def test_missing_columns_read_as_missing() -> None:
    assert run("lookup", rows=2, arrays=IDS, vocabulary="ids").tolist() == [0, 0]
    assert run("bag", rows=1, arrays=IDS, vocabulary="ids", width=2).tolist() == [[0, 0]]
    assert run("calendar", rows=1, part="hour").tolist() == [0]
    assert run("fill", rows=1, value=3).tolist() == [[3.0]]


def test_as_of_reads_before_the_clock_or_at_the_end() -> None:
    events = {"@user": np.array([1, 1]), "@clock": np.array([5, 9])}
    tables = {"t": AsOfTable.sums(events, 2, key="@user", measures=(Measure(),))}
    program = Program(("@user", "@clock"), (Step("as_of", ("@user", "@clock"), "n", {"table": "t"}),), ("n",), {}, tables)
    columns = {"@user": np.array([1, 1, 1]), "@clock": np.array([5, 6, 99])}
    assert run_program(program, columns, ReadContext(3))["n"].tolist() == [[0.0], [1.0], [2.0]]  # type: ignore[union-attr]
    assert run_program(program, columns, ReadContext(3, latest=True))["n"].tolist() == [[2.0]] * 3  # type: ignore[union-attr]
    history = np.array([0, 4, 4, 5]), np.arange(5)
    assert run_program(program, columns, ReadContext(3, histories=history))["n"].tolist() == [[4.0], [0.0], [1.0]]  # type: ignore[union-attr]


def test_numbers_stay_finite_whatever_comes_in() -> None:
    wild = np.array([np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324])
    for op, params in (("affine", {"shift": -1e308, "scale": 1e308}), ("log1p", {}), ("clip", {"low": -1e300, "high": 1e300})):
        assert np.isfinite(run(op, wild, **params)).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=20))
def test_a_batch_gives_the_bytes_of_single_rows(values: list[float]) -> None:
    column = np.array(values)
    steps = (
        Step("log1p", ("x",), "log"),
        Step("fill", ("log",), "filled", {"value": 0.5, "indicator": True}),
        Step("affine", ("filled",), "out", {"shift": 0.1, "scale": 3.7}),
    )
    program = Program(("x",), steps, ("out",))
    together = np.asarray(run_program(program, {"x": column}, ReadContext(len(column)))["out"])
    alone = [np.asarray(run_program(program, {"x": column[i : i + 1]}, ReadContext(1))["out"]) for i in range(len(column))]
    assert together.tobytes() == np.concatenate(alone).tobytes()


def test_a_column_of_one_row_stands_for_all_and_is_worked_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events = {"@user": np.array([1, 1, 2]), "@clock": np.array([5, 9, 9])}
    tables = {"t": AsOfTable.sums(events, 3, key="@user", measures=(Measure(),))}
    steps = (
        Step("lookup", ("genre",), "of user", {"vocabulary": "ids"}),
        Step("words", ("genre",), "words", {"most": 2}),
        Step("bag", ("words",), "bag", {"vocabulary": "ids", "width": 2}),
        Step("as_of", ("@user", "@clock"), "n", {"table": "t"}),
        Step("affine", ("price",), "scaled", {"shift": 1.0, "scale": 2.0}),
        Step("plus", ("n", "scaled"), "sum"),
        Step("calendar", ("never",), "hour", {"part": "hour"}),
        Step("cross", ("of user", "@item"), "pair", {"size": 4}),
    )
    made = ("of user", "words", "bag", "n", "sum", "hour", "pair")
    program = Program(("genre", "@user", "@item", "@clock", "price", "never"), steps, made, IDS, tables)
    one = {"genre": coded(["b"]), "@user": np.array([2]), "@clock": np.array([99])}
    rows = {"@item": np.array([1, 0, 3]), "price": np.array([1.0, np.nan, 4.0])}
    whole = run_program(program, {**{name: take_column(column, np.zeros(3, int)) for name, column in one.items()}, **rows}, ReadContext(3))
    sizes: dict[str, int] = {}

    def noted(step: Any, frame: Any, *told: Any) -> Any:
        sizes[frame.output] = frame.context.rows
        return step(frame, *told)

    for op, step in STEPS.items():
        monkeypatch.setitem(STEPS, op, partial(noted, step))
    found = run_program(program, {**one, **rows}, ReadContext(3))
    assert sizes == {"of user": 1, "words": 1, "bag": 1, "n": 1, "hour": 1, "scaled": 3, "sum": 3, "pair": 3}
    for name, value in whole.items():
        assert type(value) is type(found[name])
        pair = [[column] if isinstance(column, np.ndarray) else [column.values.text(), column.offsets] for column in (value, found[name])]
        assert all(np.array_equal(*both) and len(both[0]) for both in zip(*pair, strict=True)), name


def test_a_program_survives_json_and_arrays() -> None:
    events = {"@user": np.array([1, 1]), "@clock": np.array([5, 9])}
    tables = {"t": AsOfTable.sums(events, 2, key="@user", measures=(Measure(),))}
    steps = (Step("lookup", ("x",), "row", {"vocabulary": "ids"}), Step("as_of", ("@user", "@clock"), "n", {"table": "t"}))
    program = Program(("x", "@user", "@clock"), steps, ("row", "n"), IDS, tables)
    stored = {f"p.{name}": array for name, array in program.stored().items()}
    assert all(array.dtype != object for array in stored.values())
    back = Program.load(json.loads(json.dumps(program.to_json())), stored, "p.")
    columns = {"x": coded(["b", "q"]), "@user": np.array([1, 0]), "@clock": np.array([7, 7])}
    for name, value in run_program(program, columns, ReadContext(2)).items():
        assert np.array_equal(np.asarray(run_program(back, columns, ReadContext(2))[name]), np.asarray(value))


def test_a_step_off_the_list_or_out_of_order_is_refused() -> None:
    with pytest.raises(ContractError, match="closed list"):
        Program(("x",), (Step("eval", ("x",), "y"),), ("y",))
    with pytest.raises(ContractError, match="before they exist"):
        Program(("x",), (Step("log1p", ("y",), "z"),), ("z",))
    with pytest.raises(ContractError, match="never makes"):
        Program(("x",), (), ("z",))
    with pytest.raises(ContractError, match="made twice"):
        Program(("x",), (Step("log1p", ("x",), "x"),), ("x",))


def test_a_program_with_a_part_missing_is_refused() -> None:
    program = Program(("x",), (Step("lookup", ("x",), "row", {"vocabulary": "ids"}),), ("row",), IDS)
    with pytest.raises(BundleError, match="damaged"):
        Program.load(program.to_json(), {})


def test_text_where_numbers_are_needed_is_told() -> None:
    with pytest.raises(ContractError, match="holds text"):
        run("log1p", coded(["a"]))
    with pytest.raises(ContractError, match="holds text"):
        run("gather", Coded(np.array([0], np.int32), np.array(["a"], object)), arrays={"t": np.zeros((2, 1))}, table="t")
    with pytest.raises(ContractError, match="holds text"):
        run("log1p", Ragged(np.zeros(2, np.float32), np.array([0, 2])))
