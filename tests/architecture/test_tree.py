from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOP = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "autorec_kernel",
    "benchmarks",
    "constraints.txt",
    "contrib",
    "docs",
    "mkdocs.yml",
    "plugins",
    "pyproject.toml",
    "tests",
    "tox.ini",
}
ROOMS = {"cli", "contracts", "data", "deploy", "evaluation", "features", "models", "stages"} | {
    "records",
    "registry",
    "search",
    "serving",
    "space",
    "testing",
}
SHELVES = {"tutorials", "how-to", "reference", "explanation"}


def test_the_top_level_holds_what_the_architecture_names(root: Path) -> None:
    missing = [name for name in TOP if not (root / name).exists()]
    assert missing == []


def test_nothing_else_is_tracked_at_the_top_level(root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    tracked = {path.split("/", 1)[0] for path in listed.split("\0") if path}
    assert tracked - TOP == set()


def test_the_kernel_has_exactly_its_rooms(root: Path) -> None:
    found = {path.parent.name for path in (root / "autorec_kernel").glob("*/__init__.py")}
    assert found == ROOMS


def test_every_room_says_what_lives_there(root: Path) -> None:
    silent = [room for room in sorted(ROOMS) if '"""' not in (root / "autorec_kernel" / room / "__init__.py").read_text(encoding="utf-8")]
    assert silent == []


def test_documentation_stands_on_four_shelves(root: Path) -> None:
    empty = [shelf for shelf in SHELVES if not list((root / "docs" / shelf).glob("*.md"))]
    assert empty == []


def test_every_plugin_package_has_a_declaration_module(root: Path) -> None:
    packages = [path for path in (root / "plugins").iterdir() if path.name.startswith("autorec_")]
    assert [path.name for path in packages if not (path / "plugin.py").is_file()] == []
