"""A request runs every program once, however many features it makes, and what a user alone decides once for all candidates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records import serving_state
from autorec_kernel.records.recent import narrowed
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.testing.data import tiny_dataset

pytestmark = pytest.mark.plugins


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    return build_features(tiny_dataset(task="rate"), kernel, task="rate")


def loaded(state: ServingState) -> ServingState:
    return ServingState.load(json.loads(json.dumps(state.meta())), state.arrays())


def asked(state: ServingState, names: list[str], user: int, items: np.ndarray, spread: bool) -> dict[str, np.ndarray]:
    users = np.full(len(items), user) if spread else np.array([user])
    return state.inputs(names, users=users, items=items, clock=10**18)


def test_programs_are_read_once_and_run_once_a_request(features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    state, runs = loaded(features.state()), list[int]()

    def counted(program: Any, *args: Any) -> Any:
        runs.append(id(program))
        return serving_state_run(program, *args)

    serving_state_run = serving_state.run_program
    monkeypatch.setattr(serving_state, "run_program", counted)
    names = [name for name in state.programs if name not in state.tables]
    asked(state, names, 1, np.arange(1, 9), spread=False)
    assert len(runs) == len(set(runs)) < len(names)
    assert len(runs) == len({id(state.programs[name][0]) for name in names})
    built = features.state().programs
    assert len({id(program) for program, _ in state.programs.values()}) == len({id(program) for program, _ in built.values()})


@pytest.mark.parametrize("user", [1, 3, 0])
def test_one_user_for_all_candidates_gives_the_bytes_of_the_user_on_every_row(features: FeatureSet, user: int) -> None:
    state, items = loaded(features.state()), np.arange(1, 9)
    names = [feature.name for feature in features.schema.features]
    alone, every = asked(state, names, user, items, spread=False), asked(state, names, user, items, spread=True)
    one = [asked(state, names, user, items[row : row + 1], spread=False) for row in range(len(items))]
    for name in names:
        assert alone[name].tobytes() == every[name].tobytes() and alone[name].dtype == every[name].dtype
        assert alone[name].tobytes() == np.concatenate([part[name] for part in one]).tobytes()


def test_a_state_of_fewer_features_answers_them_alike_and_holds_no_more_than_they_read(features: FeatureSet) -> None:
    state = features.state()
    names = [feature.name for feature in features.schema.features]
    users, items, given = (
        np.array([1, 3, 0, 2]),
        np.array([4, 0, 2, 1]),
        [np.array([1, 2]), np.array([], int), np.array([3]), np.array([2, 5])],
    )
    asks: list[dict[str, Any]] = [{}, {"histories": given}, {"clock": 10**18}]
    for kept in (*([name] for name in names), names):
        alone = loaded(narrowed(state, kept))
        assert [feature.name for feature in alone.schema.features] == kept
        for more in asks:
            whole, found = (one.inputs(kept, users=users, items=items, **more) for one in (state, alone))
            assert all(found[name].tobytes() == whole[name].tobytes() and found[name].dtype == whole[name].dtype for name in kept), kept
        assert alone.reads(kept) == state.reads(kept)
    bytes_of = {kept: sum(array.nbytes for array in narrowed(state, kept).arrays().values()) for kept in ((), ("history",), tuple(names))}
    steps = {step.op for program, _ in narrowed(state, ["item.count"]).programs.values() for step in program.steps}
    assert bytes_of[()] < bytes_of["history",] < bytes_of[tuple(names)] <= sum(array.nbytes for array in state.arrays().values())
    assert steps <= {"as_of", "log1p", "affine"}
