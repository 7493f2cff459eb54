"""No feature is made up: nothing random enters a value, nobody gets a gender, an age or an occupation that no table names."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.testing.feature_cases import SETTINGS, example_dataset

ROOT = Path(__file__).parents[3]
LEARNED = {  # files whose draws begin or sample a search; the equality of feature sets below shows what they leave behind
    "autorec_crosses/crosses.py",
    "autorec_crosses/rates.py",
    "autorec_crosses/search.py",
    "autorec_features/spectrum.py",
}
DEMOGRAPHY = {"gender", "sex", "occupation", "job", "income", "zip"}  # `user.age` is the time since a user's first event


def frames(rows: int = 600) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings of 40 users, and what half of the users told of themselves."""
    rng = np.random.default_rng(0)
    ratings = pd.DataFrame({"user_id": rng.integers(0, 40, rows), "item_id": rng.integers(0, 30, rows), "rating": rng.integers(1, 6, rows)})
    users = pd.DataFrame(
        {"user_id": range(20), "age": 18 + np.arange(20), "gender": ["F", "M"] * 10, "occupation": ["writer", "nurse"] * 10}
    )
    return ratings.assign(timestamp=10**9 + 3600 * np.arange(rows)), users


def values(features: FeatureSet) -> dict[str, np.ndarray]:
    names = [feature.name for feature in features.schema.features]
    lengths = {feature.name: feature.width for feature in features.schema.features if feature.kind == "history"}
    return features.row_inputs(names, np.arange(features.parts["train"].rows), lengths=lengths)


def draws(path: Path) -> list[str]:
    """Return the calls of a module that draw: methods of a generator, anything of `random`, and what names the clock or the system."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.startswith(("rng.", "random.", "secrets.", "uuid.", "time.time", "os.urandom")) or "np.random.default_rng" in name:
                found.append(f"{path.parent.name}/{path.name}: {name}")
    return found


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover(blocked=["autorec-leaks"])


def test_no_feature_op_and_no_program_step_draws_a_value() -> None:
    plugins = [*(ROOT / "plugins/autorec_features").glob("*.py"), *(ROOT / "plugins/autorec_crosses").glob("*.py")]
    found = [call for path in [*plugins, *(ROOT / "autorec_kernel/records").glob("*.py")] for call in draws(path)]
    assert len(plugins) > 20
    assert {call.partition(":")[0] for call in found} <= LEARNED, found


@pytest.mark.parametrize(("clock", "task"), SETTINGS)
def test_two_seeds_give_the_same_features_with_the_same_values(clock: str, task: str, kernel: Kernel) -> None:
    """Whatever a seed changes is no property of the data. Even what is learned from a random beginning ends in the same place."""
    dataset = example_dataset(clock, task)
    first, second = (build_features(dataset, kernel, seed=seed, task=task) for seed in (0, 123))
    assert first.schema == second.schema
    one, other = values(first), values(second)
    for feature in first.schema.features:
        if feature.kind == "numeric":
            np.testing.assert_allclose(one[feature.name], other[feature.name], rtol=1e-3, atol=1e-3, err_msg=feature.name)
        else:
            assert np.array_equal(one[feature.name], other[feature.name]), feature.name


def test_a_program_gives_the_same_bytes_each_time_it_is_run(kernel: Kernel) -> None:
    features = build_features(example_dataset("time", "rate"), kernel, task="rate")
    for op in features.fitted:
        rows: dict[str, Any] = {name: np.arange(5) for name in op.program.inputs if name.startswith("@")}
        runs = [run_program(op.program, rows, ReadContext(5)) for _ in range(2)]
        assert [np.asarray(value).tobytes() for value in runs[0].values()] == [np.asarray(value).tobytes() for value in runs[1].values()]


@pytest.mark.parametrize("task", ["recommend", "rate"])
def test_nobody_gets_a_gender_an_age_or_an_occupation_that_no_table_names(task: str, kernel: Kernel) -> None:
    ratings, _ = frames()
    features = build_features(open_dataset(ratings, task=task), kernel, task=task)  # type: ignore[arg-type]
    parts = {word for feature in features.schema.features for word in feature.name.replace("+", ".").replace("_", ".").split(".")}
    assert not parts & DEMOGRAPHY
    assert "users" not in parts
    read = {name for op in features.fitted for name in op.program.inputs if not name.startswith("@")}
    assert read <= {"user_id", "item_id", "rating", "timestamp"}


def test_users_are_told_by_what_they_did_where_nothing_else_is_known(kernel: Kernel) -> None:
    ratings, _ = frames()
    features = build_features(open_dataset(ratings, task="rate"), kernel, task="rate")
    behaviour = {feature.name for feature in features.schema.features if feature.depends == "user" and feature.dynamic}
    assert {"user.count", "user.mean", "history"} <= behaviour
    assert len(behaviour) >= 10


def test_users_without_a_row_in_their_table_read_as_unknown_and_alike(kernel: Kernel) -> None:
    ratings, users = frames()
    dataset = open_dataset(ratings, users=users, task="rate")
    features = build_features(dataset, kernel, task="rate")
    silent = np.array([int(user) >= 20 for user in dataset.train["user_id"].text()])  # type: ignore[union-attr]
    told = [feature for feature in features.schema.features if feature.name in ("users.age", "users.gender", "users.occupation")]
    found = values(features)
    assert {feature.kind for feature in told} == {"id", "numeric"}
    for feature in told:
        alike = np.unique(found[feature.name][silent], axis=0)
        assert len(alike) == 1, feature.name
        assert np.array_equal(alike.ravel()[0:1], [0])  # row 0 of a vocabulary, the mean of the standardised number
        assert len(np.unique(found[feature.name][~silent], axis=0)) > 1
    assert features.schema["users.age"].width == 2  # the number, and the flag that says it is missing
    assert np.unique(found["users.age"][silent][:, 1]).tolist() != np.unique(found["users.age"][~silent][:, 1]).tolist()
