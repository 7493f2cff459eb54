"""What a bundle says of new rows: columns that are not as they were, and features that have moved, the worst first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_toys import ITEMS, profiled, state, write_toy

from autorec_kernel.errors import BundleError, UsageError
from autorec_kernel.records.bundle import DRIFT
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import Coded, Ragged
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.drift import DriftReport, context_columns, drift_of

NAMES = ("age", "spend", "colour", "price", "history")
SCHEMA = Schema(
    (
        Column("user_id", "user", "id"),
        Column("item_id", "item", "id"),
        Column("rating", "label", "numeric"),
        Column("age", "feature", "numeric"),
        Column("spend", "feature", "numeric"),
        Column("colour", "feature", "categorical"),
        Column("mood", "feature", "categorical"),
    )
)


def whole_state() -> ServingState:
    """The toy state with three row features; `mood` is a column that no feature reads."""
    toy, colours = state(), Vocabulary.of(["blue", "green", "red"])
    more = (Feature("age", "numeric", "row"), Feature("spend", "numeric", "row"), Feature("colour", "id", "row", size=4))
    fill = {name: Program((name,), (Step("fill", (name,), "out", {"value": 0.0}),), ("out",)) for name in ("age", "spend")}
    arrays = {f"c.{name}": array for name, array in colours.arrays().items()}
    lookup = Program(("colour",), (Step("lookup", ("colour",), "out", {"vocabulary": "c"}),), ("out",), arrays)
    schema = replace(toy.schema, features=(*toy.schema.features, *more))
    programs = {**toy.programs, **{name: (program, "out") for name, program in fill.items()}, "colour": (lookup, "out")}
    return replace(toy, schema=schema, programs=programs)


def rows(count: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    colours = Coded(rng.integers(0, 3, count).astype(np.int32), np.array(["blue", "green", "red"], dtype=object))
    users = [f"u{number}" for number in rng.integers(1, 6, count)]
    items = [f"i{number:02d}" for number in rng.integers(1, ITEMS + 1, count)]
    return {
        "users": users,
        "items": items,
        "columns": {"age": rng.normal(40, 9, count), "spend": rng.gamma(2, 9, count), "colour": colours},
    }


PROFILE = profiled(whole_state(), NAMES, **rows(3000))


def report(**changes: Any) -> DriftReport:
    given = {**rows(3000), **{name: value for name, value in changes.items() if name != "columns"}}
    assert PROFILE is not None
    return drift_of(PROFILE, whole_state(), SCHEMA, given["users"], given["items"], {**given["columns"], **changes.get("columns", {})})


def test_the_training_rows_themselves_have_not_moved() -> None:
    found = report()
    assert {one.name for one in found.features} == {*NAMES, "user_id", "item_id"}
    assert all(abs(one.psi) < 1e-9 and one.verdict == "stable" for one in found.features)
    assert (found.missing, found.extra, found.retyped, found.rows) == ((), (), {}, 3000)


def test_the_order_of_rows_is_of_no_matter() -> None:
    order = np.random.default_rng(1).permutation(500)
    fresh, mixed = rows(500, seed=5), rows(500, seed=5)
    mixed["users"], mixed["items"] = [mixed["users"][k] for k in order], [mixed["items"][k] for k in order]
    columns = {name: Coded(c.codes[order], c.values) if isinstance(c, Coded) else c[order] for name, c in mixed["columns"].items()}
    one, other = report(**fresh), report(**{**mixed, "columns": columns})
    assert [(a.name, pytest.approx(a.psi)) for a in one.features] == [(b.name, b.psi) for b in other.features]


@pytest.mark.parametrize("name", ["age", "spend", "colour"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_shift_is_named_first(name: str, seed: int) -> None:
    fresh = rows(1000, seed)
    column = fresh["columns"][name]
    moved = Coded(np.where(column.codes == 2, 0, column.codes), column.values) if name == "colour" else column + 0.8 * column.std()
    found = report(**{**fresh, "columns": {**fresh["columns"], name: moved}})
    assert (found.features[0].name, found.features[0].verdict) == (name, "shifted")
    assert all(one.verdict != "shifted" for one in found.features[1:])


def test_unseen_values_are_counted() -> None:
    users = ["nobody"] * 600 + ["u1"] * 2400
    colours = Coded(np.array([0, 1, 1] * 1000, np.int32), np.array(["mauve", "red"], dtype=object))
    found = {one.name: one for one in report(users=users, columns={"colour": colours, "age": np.full(3000, 500.0)}).features}
    assert [found[name].unseen for name in ("user_id", "colour", "age")] == pytest.approx([0.2, 1 / 3, 1.0])
    assert [found[name].unseen_before for name in ("user_id", "colour", "age")] == [0, 0, 0]
    assert (found["age"].moved.startswith("above"), found["age"].now) == (True, 1.0)


def test_few_rows_are_not_called_a_shift() -> None:
    verdicts = {one.verdict for seed in range(20) for one in report(**rows(12, seed)).features if one.name == "age"}
    assert "chance" in verdicts and "shifted" not in verdicts


def test_missing_columns_are_those_that_the_model_reads() -> None:
    state, given = whole_state(), rows(100)
    assert PROFILE is not None
    found = drift_of(PROFILE, state, SCHEMA, given["users"], None, {"age": given["columns"]["age"]})
    assert found.missing == ("item_id", "spend", "colour")
    assert next(one for one in found.features if one.name == "colour").unseen == 1.0
    assert context_columns(state, ("colour", "price", "history", "user_id"), SCHEMA) == ["colour"]


def test_extra_columns_are_named_and_known_ones_that_are_not_read_are_not() -> None:
    nothing = np.zeros(3000)
    found = report(columns={"new": nothing, "another": nothing, "mood": nothing, "rating": nothing})
    assert found.extra == ("new", "another")
    assert [one.psi for one in found.features] == [one.psi for one in report().features]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (Coded(np.zeros(3000, np.int32), np.array(["x"], dtype=object)), "holds texts, and was numeric in training"),
        (np.zeros((3000, 2), np.float32), "holds vectors, and was numeric in training"),
        (np.zeros(3000, "M8[ns]"), "holds times, and was numeric in training"),
        (Ragged(np.zeros(0), np.zeros(3001, np.int64)), "holds lists, and was numeric in training"),
        (np.zeros(3000, np.int64), ""),
    ],
)
def test_a_column_of_another_type_is_named_and_counts_as_missing(column: Any, told: str) -> None:
    assert report(columns={"age": column}).retyped == ({"age": told} if told else {})


def test_a_table_without_rows_is_refused() -> None:
    assert PROFILE is not None
    with pytest.raises(UsageError, match="at least one row"):
        drift_of(PROFILE, whole_state(), SCHEMA, [], [], {})


def test_a_bundle_tells_of_drift_by_its_profile(tmp_path: Path) -> None:
    given = rows(200)
    profile = profiled(state(), ("user_id", "item_id", "price"), given["users"], given["items"], {})
    assert DRIFT in write_toy(tmp_path / "b", "ranker", drift=profile).members
    recommender = Recommender.load(tmp_path / "b")
    found = recommender.drift(given["users"], given["items"])
    assert [one.psi for one in found.features] == pytest.approx([0, 0, 0], abs=1e-6)
    assert recommender.drift(["nobody"] * 50, given["items"][:50]).features[0].name == "user_id"
    assert found.to_json()["features"][0]["verdict"] == "stable"


def test_a_bundle_without_a_profile_says_so(tmp_path: Path) -> None:
    write_toy(tmp_path / "b", "ranker")
    with pytest.raises(BundleError, match="holds no drift profile"):
        Recommender.load(tmp_path / "b").drift(["u1"], ["i01"])
