from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from autorec_kernel import errors, hookspecs
from autorec_kernel.cli.commands import COMMANDS, Command
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe

GENERAL = {"--help", "--install-completion", "--show-completion"}
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _options(row: Command) -> set[str]:
    module, _, name = row.target.partition(":")
    loaded = getattr(import_module(module), name)
    app = loaded if isinstance(loaded, typer.Typer) else typer.Typer()
    if app is not loaded:
        app.command()(loaded)
    command = typer.main.get_command(app)
    commands = [command, *getattr(command, "commands", {}).values()]
    return {option for one in commands for parameter in one.params for option in parameter.opts if option.startswith("--")} - GENERAL


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_has_a_section_that_names_its_options(row: Command) -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    sections = {heading: body for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)}
    (body,) = [body for heading, body in sections.items() if re.search(rf"\bautorec {row.name}\b", heading)]
    assert _options(row) - set(re.findall(r"--[a-z][a-z-]*", body)) == set()


def test_every_key_of_a_recipe_is_in_the_reference() -> None:
    text = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    assert {key for key in Recipe.model_fields if f"`{key}`" not in text} == set()


def test_every_field_of_a_result_is_in_the_reference() -> None:
    tree = ast.parse((REFERENCE.parents[1] / "autorec_kernel" / "stages" / "result.py").read_text(encoding="utf-8"))
    (writer,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "result_of"]
    (returned,) = [node.value for node in ast.walk(writer) if isinstance(node, ast.Return)]
    assert isinstance(returned, ast.Dict)
    keys = {key.value for key in returned.keys if isinstance(key, ast.Constant)}
    rows = re.findall(r"^\| `(\w+)` \|", (REFERENCE / "result.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert keys == set(rows)


def test_every_model_of_the_zoo_is_in_the_reference_with_its_options() -> None:
    text = (REFERENCE / "zoo.md").read_text(encoding="utf-8")
    rows = {row[0]: row[1] for row in re.findall(r"^\| `((?:zoo|baselines)/[\w-]+)` \|.*\| (.*?) \|$", text, re.MULTILINE)}
    kernel = Kernel.discover()
    known = [row.id for row in kernel.components("blueprint") if row.id.startswith(("zoo/", "baselines/"))]
    options = {name: set(kernel.load("blueprint", name).Config.model_fields) for name in known}
    assert {name: set(re.findall(r"`(\w+)`", listed)) for name, listed in rows.items()} == options


def test_every_hook_is_explained_beside_an_example() -> None:
    text = (REFERENCE / "hooks.md").read_text(encoding="utf-8")
    hooks = {name for name in vars(hookspecs) if name.startswith("autorec_")}
    assert {hook for hook in hooks if f"`{hook}" not in text} == set()


def test_every_error_class_has_its_exit_code_in_the_reference() -> None:
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.AutoRecError)]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for kind in classes:
        if kind is not errors.AutoRecError:
            assert any(f"| {kind.exit_code} |" in row and kind.__name__ in row and kind.code in row for row in rows), kind.__name__


def test_every_option_of_training_is_in_the_reference() -> None:
    from autorec_training.full import FullTraining

    text = (REFERENCE / "training.md").read_text(encoding="utf-8")
    assert {name for name in FullTraining.Config.model_fields if f"`{name}`" not in text} == set()
