from __future__ import annotations

from pathlib import Path

import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.recipe import DEFAULT_BUDGET, Recipe, parse_budget, read_recipe


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), (" 5min ", 300), ("5m", 300), ("1.5h", 5400), (".5 min", 30), ("2 SEC", 2)]
)
def test_a_budget_is_read_in_the_usual_units(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5min", "0", "5 days", "1h30", "nan", "1e3", "5min!"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        parse_budget(text)


def test_a_recipe_reads_its_budget_as_text_or_number() -> None:
    assert (read_recipe(None, {"budget": "2min"}).seconds, read_recipe(None, {"budget": 7}).seconds) == (120.0, 7.0)


def test_without_any_limit_there_is_a_default_time() -> None:
    assert Recipe().seconds == DEFAULT_BUDGET


def test_a_number_of_trials_means_no_time() -> None:
    assert Recipe(trials=0).seconds is None


def test_a_budget_and_trials_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="not both"):
        read_recipe(None, {"budget": 5, "trials": 5})


@pytest.mark.parametrize(("given", "left"), [({"trials": 3}, (None, 3)), ({"budget": "9s"}, (9.0, None)), ({}, (60.0, None))])
def test_a_stated_limit_replaces_the_other_one_of_the_file(tmp_path: Path, given: dict[str, object], left: tuple[object, object]) -> None:
    path = tmp_path / "r.toml"
    path.write_text('budget = "1min"\n')
    recipe = read_recipe(path, given)
    assert (recipe.budget, recipe.trials) == left


def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("sead = 1\n")
    with pytest.raises(UsageError, match="did you mean 'seed'") as caught:
        read_recipe(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("task", "guess"), ("trials", -1), ("seed", -1), ("workers", 1.5), ("protocol", "lottery"), ("budget", float("nan"))]
)
def test_a_wrong_value_names_its_key(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=key):
        read_recipe(None, {key: value})


@pytest.mark.parametrize("text", [b"seed = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(text)
    with pytest.raises(UsageError, match="cannot read the recipe"):
        read_recipe(path, {})


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(task="rate", trials=3, roles={"a": "user"}, evaluator_options={"epochs": 2})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
