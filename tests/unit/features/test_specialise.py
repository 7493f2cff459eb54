"""Programs for serving read no side table: what they make of one alone is computed ahead, and the values stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.errors import ContractError
from autorec_kernel.features.compute import event_columns
from autorec_kernel.features.specialise import specialised
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.testing.feature_cases import World, example_dataset, world


@pytest.fixture(scope="module")
def place() -> World:
    return world(example_dataset("time", "click"), "click")


def crossed(*steps: Step, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ("pair",)) -> Program:
    genres = {f"g.{name}": array for name, array in Vocabulary.of([f"genre{i}" for i in range(4)]).arrays().items()}
    countries = {f"c.{name}": array for name, array in Vocabulary.of(["country0", "country2"]).arrays().items()}
    base = (
        Step("lookup", ("users.country",), "country", {"vocabulary": "c"}),
        Step("bag", ("items.genres",), "genre", {"vocabulary": "g", "width": 3}),
        Step("cross", ("country", "genre"), "pair", {"size": 5}),
        Step("minus", ("users.age", "items.year"), "gap"),
    )
    names = ("users.country", "items.genres", "users.age", "items.year", *inputs)
    return Program(names, (*base, *steps), outputs, {**genres, **countries})


def test_a_specialised_program_gives_the_same_values_from_keys_alone(place: World) -> None:
    program = crossed(outputs=("pair", "gap", "country"))
    made = specialised(program, place.sides)
    assert set(made.inputs) == {"@user_key", "@item_key"}
    assert [step.op for step in made.steps].count("lookup") == 0
    assert not any(name.startswith(("g.", "c.")) for name in made.arrays)
    context = ReadContext(place.events.rows)
    before = run_program(program, event_columns(program.inputs, place.events, place.sides), context)
    keys = {name: np.asarray(place.events[name]) for name in made.inputs}
    after = run_program(made, keys, context)
    assert all(np.array_equal(before[name], after[name]) for name in program.outputs)
    assert np.asarray(before["pair"]).any()


def test_unknown_keys_read_as_missing(place: World) -> None:
    made = specialised(crossed(outputs=("pair", "gap")), place.sides)
    found = run_program(made, {"@user_key": np.array([0, 10**6]), "@item_key": np.array([0, -1])}, ReadContext(2))
    assert not np.asarray(found["pair"]).any()
    assert not np.asarray(found["gap"]).any()


def test_a_program_without_side_columns_is_left_as_it_is(place: World) -> None:
    program = Program(("@clock",), (Step("calendar", ("@clock",), "hour", {"part": "hour"}),), ("hour",))
    assert specialised(program, place.sides) is program


def test_mixing_a_text_of_a_side_table_with_other_columns_is_told(place: World) -> None:
    step = Step("concat", ("users.country", "@clock"), "mixed")
    with pytest.raises(ContractError, match=r"users\.country"):
        specialised(crossed(step, inputs=("@clock",), outputs=("mixed",)), place.sides)
