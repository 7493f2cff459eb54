from __future__ import annotations

import importlib
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]["autorec.plugins"]


def _specs(package: str) -> list[Any]:
    """Every component that a declaration module declares, as its hooks return them."""
    module = importlib.import_module(f"{package}.plugin")
    hooks = [value for name, value in vars(module).items() if name.startswith("autorec_") and hasattr(value, "autorec_impl")]
    declared = [hook() for hook in hooks if hook.__code__.co_argcount == 0]
    return [spec for specs in declared if isinstance(specs, tuple) for spec in specs if hasattr(spec, "target")]


def test_every_plugin_package_has_one_entry_point() -> None:
    packages = {path.name for path in (ROOT / "plugins").glob("autorec_*")}
    assert {value.split(".")[0] for value in DECLARED.values()} == packages
    assert len(DECLARED) == len(packages)


def test_entry_points_state_their_api_range_as_an_extra() -> None:
    assert [name for name, value in DECLARED.items() if not re.fullmatch(rf"autorec_{name}\.plugin \[api1\]", value)] == []


def test_installed_metadata_keeps_the_api_range() -> None:
    ours = [point for point in entry_points(group="autorec.plugins") if point.dist and point.dist.name == "autorec-kernel"]
    assert {point.name: point.extras for point in ours} == {name: ["api1"] for name in DECLARED}


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_plugin_declares_at_least_one_component(name: str) -> None:
    assert _specs(f"autorec_{name}")


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_plugin_needs_at_most_one_optional_package(name: str, project: dict[str, Any]) -> None:
    specs = _specs(f"autorec_{name}")
    needs = {package for spec in specs for package in spec.requires}
    extras = {spec.extra for spec in specs if spec.extra}
    assert len(extras) <= 1
    assert len(needs) <= 1
    assert extras <= set(project["project"]["optional-dependencies"])
    assert bool(needs) == bool(extras)


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_every_declared_target_exists(name: str) -> None:
    for spec in _specs(f"autorec_{name}"):
        module, _, attribute = spec.target.partition(":")
        tree = ROOT / "plugins" / Path(*module.split("."))
        file = tree.with_suffix(".py") if tree.with_suffix(".py").exists() else tree / "__init__.py"
        assert re.search(rf"\b{attribute.split('.')[0]}\b", file.read_text(encoding="utf-8")), spec.target
