"""The serving state: what it answers for known and unknown users, given histories, and after a round trip through arrays."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records import serving_state
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.recent import only
from autorec_kernel.records.serving_state import ServingState, csr, repeated
from autorec_kernel.records.steps import STEPS
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.testing.data import coded

EVENTS = {
    "@user": np.array([1, 2, 1, 1]),
    "@item": np.array([3, 1, 2, 1]),
    "@order": np.arange(4),
    "@clock": np.arange(4),
    "@positive": np.array([1, 1, 0, 1]),
}


LATER = {  # the same, and one more user and item twice
    **{name: np.append(EVENTS[name], [value, value]) for name, value in (("@user", 3), ("@item", 4), ("@positive", 1))},
    **{name: np.arange(6) for name in ("@order", "@clock")},
}


def state() -> ServingState:
    counts = AsOfTable.sums(EVENTS, 3, key="@user", measures=(Measure(),))
    items = AsOfTable.sequence(EVENTS, 3, where="@positive").trimmed(4)
    count = Program(("@user",), (Step("as_of", ("@user",), "n", {"table": "t"}),), ("n",), tables={"t": counts.trimmed(1)})
    history = Program(
        ("@user", "@order"),
        (Step("as_of", ("@user", "@order"), "h", {"table": "t", "length": 4}),),
        ("h",),
        tables={"t": items},
    )
    ids = {f"v.{name}": array for name, array in Vocabulary.of(["tv", "web"]).arrays().items()}
    device = Program(("device",), (Step("lookup", ("device",), "row", {"vocabulary": "v"}),), ("row",), ids)
    hour = Program(("when",), (Step("calendar", ("when",), "hour", {"part": "hour"}),), ("hour",))
    features = (
        Feature("age", "numeric", "user"),
        Feature("year", "numeric", "item"),
        Feature("count", "numeric", "user", dynamic=True),
        Feature("history", "history", "user", dynamic=True, vocabulary="item", size=4, width=4),
        Feature("device", "id", "row", vocabulary="device", size=3),
        Feature("hour", "id", "row", vocabulary="hour", size=25),
    )
    tables = {
        "age": np.array([0.0, 1.0, 2.0], np.float32)[:, None],
        "year": np.array([0.0, 5.0, 6.0, 7.0], np.float32)[:, None],
        "count": np.array([0.0, 3.0, 1.0], np.float32)[:, None],
    }
    return ServingState(
        FeatureSchema(features, users=3, items=4),
        Vocabulary.of(["ann", "bob"]),
        Vocabulary.of(["x", "y", "z"]),
        tables,
        {"count": (count, "n"), "history": (history, "h"), "device": (device, "row"), "hour": (hour, "hour")},
        np.array([0, 2, 0, 1], np.float32),
        np.array([0, 0, 3, 4]),
        np.array([3, 2, 1, 1], np.int32),
        np.array([True, False, True, True]),
        {"user": "who", "item": "what", "time": "when"},
    )


def test_known_users_and_items_read_their_rows_and_unknown_ones_row_zero() -> None:
    found = state().inputs(["age", "year", "count"], users=np.array([1, 0, 99, -1]), items=np.array([3, 99, 0, 1]))
    assert found["age"].tolist() == [[1.0], [0.0], [0.0], [0.0]]
    assert found["year"].tolist() == [[7.0], [0.0], [0.0], [5.0]]
    assert found["count"].tolist() == [[3.0], [0.0], [0.0], [0.0]]
    assert all(array.dtype == np.float32 for array in found.values())


def test_a_history_is_the_positive_items_oldest_first() -> None:
    assert state().inputs(["history"], users=np.array([1, 2, 0]))["history"].tolist() == [[3, 1, 0, 0], [1, 0, 0, 0], [0] * 4]
    assert state().seen_by(1).tolist() == [3, 2, 1] and state().history_of(1).tolist() == [3, 1]
    assert state().seen_by(0).tolist() == state().history_of(77).tolist() == []


def test_a_given_history_stands_for_the_stored_one_and_tells_what_is_known_of_strangers() -> None:
    histories = [np.array([1, 2, 3, 1, 2]), np.array([2, 3]), np.array([], int)]
    found = state().inputs(["history", "count", "age"], users=np.array([1, 0, 0]), histories=histories)
    assert found["history"].tolist() == [[2, 3, 1, 2], [2, 3, 0, 0], [0] * 4]
    assert found["count"].tolist() == [[3.0], [2.0], [0.0]]
    assert found["age"].tolist() == [[1.0], [0.0], [0.0]]


def test_handing_over_the_stored_histories_changes_nothing() -> None:
    names, users = ["history", "count", "age"], np.array([1, 2, 0])
    handed = state().inputs(names, users=users, histories=[state().history_of(user) for user in users])
    assert all(np.array_equal(handed[name], value) for name, value in state().inputs(names, users=users).items())


def test_shorter_histories_are_the_newest_steps() -> None:
    assert state().inputs(["history"], users=np.array([1]), lengths={"history": 1})["history"].tolist() == [[1]]


def test_one_user_is_spread_over_many_items() -> None:
    found = state().inputs(["age", "year"], users=np.array([2]), items=np.array([1, 2, 3]))
    assert found["age"].tolist() == [[2.0]] * 3


def test_context_columns_and_the_clock_reach_row_features() -> None:
    six = 6 * 3_600_000_000_000
    found = state().inputs(["device", "hour"], users=np.array([1, 2]), columns={"device": coded(["web", "?"])}, clock=six)
    assert found["device"].tolist() == [2, 0] and found["hour"].tolist() == [7, 7]
    assert state().inputs(["device", "hour"], users=np.array([1]))["hour"].tolist() == [0]


def test_a_stated_time_goes_before_the_clock() -> None:
    found = state().inputs(["hour"], columns={"when": np.array([0])}, clock=3_600_000_000_000)
    assert found["hour"].tolist() == [1]


def test_many_rows_equal_one_by_one() -> None:
    names = ["age", "year", "count", "history"]
    users, items = np.array([0, 1, 2, 5]), np.array([3, 2, 1, 0])
    together = state().inputs(names, users=users, items=items)
    for i in range(4):
        alone = state().inputs(names, users=users[i : i + 1], items=items[i : i + 1])
        assert all(np.array_equal(alone[name][0], together[name][i]) for name in names)


def paired() -> ServingState:
    """Return a state with features of a user, of an item and of both that one program makes, and ids that training never saw."""
    tables = {
        entity: AsOfTable.sums(LATER, size, key=f"@{entity}", measures=(Measure(), Measure("@positive"))).trimmed(1)
        for entity, size in (("user", 4), ("item", 5))  # a stranger each
    }
    ids = {f"v.{name}": array for name, array in Vocabulary.of(["z", "x"]).arrays().items()}
    steps = (
        Step("as_of", ("@user_key", "@clock"), "u", {"table": "user", "column": 1}),
        Step("log1p", ("u",), "of user"),
        Step("as_of", ("@item_key", "@clock"), "i", {"table": "item"}),
        Step("lookup", ("what",), "row", {"vocabulary": "v"}),
        Step("gather", ("row",), "vector", {"table": "vectors"}),
        Step("minus", ("i", "of user"), "of both"),
        Step("calendar", ("@clock",), "hour", {"part": "hour"}),
        Step("plus", ("of both", "hour"), "with the hour"),
        Step("fill", ("i",), "filled", {"value": 0.5}),
    )
    outputs = ("of user", "vector", "filled", "of both", "with the hour")
    program = Program(
        ("@user_key", "@item_key", "what", "@clock"), steps, outputs, {**ids, "vectors": np.arange(9.0).reshape(3, 3)}, tables
    )
    kinds = ("user", "item", "item", "pair", "pair")
    features = tuple(Feature(name, "numeric", kind, width=1 + 2 * (name == "vector")) for name, kind in zip(outputs, kinds, strict=True))
    given = state()
    strangers = {"more_users": Vocabulary.of(["eve"]), "more_items": Vocabulary.of(["new"])}
    return replace(
        given, schema=FeatureSchema(features, users=3, items=4), tables={}, programs={n: (program, n) for n in outputs}, **strangers
    )


@pytest.mark.parametrize("clock", [None, 7 * 3_600_000_000_000])
def test_what_is_made_of_one_key_alone_is_worked_out_once_for_all_keys(clock: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    found, names, items = paired(), [feature.name for feature in paired().schema.features], np.array([3, 0, 4, 1, 1, 2])
    monkeypatch.setattr(serving_state, "_MANY", 2)
    ran: list[tuple[str, int]] = []
    for op in ("as_of", "gather", "minus"):
        step = STEPS[op]
        monkeypatch.setitem(STEPS, op, lambda frame, *more, op=op, step=step: ran.append((op, frame.context.rows)) or step(frame, *more))  # type: ignore[index, misc]
    for user in (1, 3, 0, 2):
        together = found.inputs(names, users=np.array([user]), items=items, clock=clock)
        single = [found.inputs(names, users=np.array([user]), items=items[[i]], clock=clock) for i in range(len(items))]
        for name in names:
            np.testing.assert_array_equal(together[name], np.concatenate([one[name] for one in single]))
    many = [one for one in ran if one[1] > 1]
    assert [one for one in many if one[0] != "minus"] == [("as_of", 4), ("as_of", 5), ("gather", 5)]  # users and items, strangers too
    assert [one for one in many if one[0] == "minus"] == [("minus", 6)] * 4


def test_what_would_take_too_much_memory_is_worked_out_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_state, "_MANY", 2)
    found, names, items = paired(), [feature.name for feature in paired().schema.features], np.array([3, 0, 4])
    before = found.inputs(names, users=np.array([1]), items=items)
    ((_, kept),) = found._ahead.values()
    assert sorted(kept[0]) == ["of user"] and sorted(kept[1]) == ["filled", "i", "vector"]
    monkeypatch.setattr(serving_state, "_KEPT", 64)
    fresh = replace(found)
    assert fresh._ahead == {}  # as after folding: nothing old is read
    after = fresh.inputs(names, users=np.array([1]), items=items)
    assert [parts for _, parts in fresh._ahead.values()] == [[{}, {}]]
    assert all(np.array_equal(before[name], after[name]) for name in names)


def test_a_step_may_be_named_like_an_id_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_state, "_MANY", 2)
    steps = (Step("calendar", ("@clock",), "what", {"part": "hour"}), Step("plus", ("what", "@item_key"), "sum"))
    program = Program(("@clock", "@item_key"), steps, ("what", "sum"))
    features = tuple(Feature(name, "numeric", "pair") for name in ("what", "sum"))
    found = replace(
        state(), schema=FeatureSchema(features, users=3, items=4), tables={}, programs={n: (program, n) for n in ("what", "sum")}
    )
    answers = found.inputs(["what", "sum"], users=np.array([1]), items=np.array([3, 1]), clock=6 * 3_600_000_000_000)
    assert answers["what"].tolist() == [[7], [7]] and answers["sum"].tolist() == [[10], [8]]
    stated = found.inputs(["sum"], users=np.array([1]), items=np.array([3, 1]), columns={"@item_key": np.array([5, 6])}, clock=0)
    assert stated["sum"].tolist() == [[6], [7]]


def test_a_stated_id_column_is_read_and_not_what_was_worked_out() -> None:
    stated, found = {"what": coded(["x", "z"])}, paired()
    before = found.inputs(["vector"], users=np.array([1]), items=np.array([3, 1]))["vector"]
    assert before.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert found.inputs(["vector"], users=np.array([1]), items=np.array([3, 1]), columns=stated)["vector"].tolist() == before[::-1].tolist()


def test_the_state_survives_json_and_plain_arrays() -> None:
    before = state()
    arrays = before.arrays()
    assert all(array.dtype.kind in "iufb" for array in arrays.values())
    after = ServingState.load(json.loads(json.dumps(before.meta())), arrays)
    names = [feature.name for feature in before.schema.features]
    ask = {"users": np.array([1, 2, 0]), "items": np.array([1, 2, 0]), "columns": {"device": coded(["tv", None, "web"])}}
    for name, value in before.inputs(names, **ask).items():  # type: ignore[arg-type]
        assert np.array_equal(after.inputs([name], **ask)[name], value)  # type: ignore[arg-type]
    assert after.users.row_of(["bob"]).tolist() == [2]


@pytest.mark.parametrize("lost", ["users.bytes", "popularity", "feature.0", "program.1.table.t.values"])
def test_a_state_with_a_part_missing_is_refused(lost: str) -> None:
    arrays = state().arrays()
    del arrays[lost]
    with pytest.raises(BundleError, match="damaged"):
        ServingState.load(state().meta(), arrays)


def test_a_state_of_a_newer_version_is_refused() -> None:
    with pytest.raises(BundleError, match="version 99"):
        ServingState.load({**state().meta(), "version": 99}, state().arrays())


def test_lengths_that_disagree_are_told() -> None:
    with pytest.raises(ContractError, match="disagree"):
        state().inputs(["age"], users=np.array([1, 2]), items=np.array([1, 2, 3]))
    with pytest.raises(ContractError, match="disagree"):
        state().inputs(["history"], users=np.array([1, 2]), histories=[np.array([1])])


def test_no_rows_are_fine() -> None:
    found = state().inputs(["age", "history"], users=np.zeros(0, np.int64), histories=[])
    assert found["age"].shape == (0, 1) and found["history"].shape == (0, 4)


def test_histories_are_repeated_side_by_side() -> None:
    offsets, items = repeated([np.array([4, 5]), np.array([], int), np.array([6])], 2)
    assert offsets.tolist() == [0, 2, 4, 4, 4, 5, 6] and items.tolist() == [4, 5, 4, 5, 6, 6]
    assert csr((offsets, items))[1].tolist() == items.tolist()


def test_it_needs_nothing_but_numpy_and_errors(tmp_path: Path) -> None:
    arrays = tmp_path / "state.npz"
    np.savez(arrays, **state().arrays())  # type: ignore[arg-type]
    (tmp_path / "meta.json").write_text(json.dumps(state().meta()))
    told = """
import sys
for name in ("torch", "pandas", "scipy", "pydantic", "autorec_features", "autorec_kernel.features"):
    sys.modules[name] = None
import json, numpy as np
from autorec_kernel.records import serving_state
from autorec_kernel.records.serving_state import ServingState
folder = sys.argv[1]
state = ServingState.load(json.load(open(folder + "/meta.json")), dict(np.load(folder + "/state.npz", allow_pickle=False)))
print(state.inputs(["history"], users=state.users.row_of(["ann"]))["history"].tolist())
"""
    done = subprocess.run([sys.executable, "-c", told, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[[3, 1, 0, 0]]", done.stderr


def test_a_program_of_one_output_holds_the_arrays_and_tables_of_its_steps_alone() -> None:
    ids = {f"{name}.{part}": array for name in "vw" for part, array in Vocabulary.of(["tv", "web"]).arrays().items()}
    table = AsOfTable.sums(EVENTS, 3, key="@user", measures=(Measure(),)).trimmed(1)
    steps = (
        Step("lookup", ("device",), "row", {"vocabulary": "v"}),
        Step("lookup", ("place",), "where", {"vocabulary": "w"}),
        Step("as_of", ("@user",), "n", {"table": "t"}),
        Step("as_of", ("@item",), "m", {"table": "u"}),
        Step("ratio", ("n", "m"), "share", {}),
    )
    program = Program(("device", "place", "@user", "@item"), steps, ("row", "where", "share"), ids, {"t": table, "u": table, "x": table})
    row, share = only(program, {"row"}), only(program, {"share"})
    assert (row.inputs, row.outputs, [step.output for step in row.steps], set(row.tables)) == (("device",), ("row",), ["row"], set())
    assert set(row.arrays) == {name for name in ids if name.startswith("v.")}
    assert (share.inputs, share.outputs, set(share.tables), dict(share.arrays)) == (("@user", "@item"), ("share",), {"t", "u"}, {})
    assert [step.output for step in share.steps] == ["n", "m", "share"]
