"""Checks of built distributions, run by `tox run -e package`: not collected by the default suite, which has nothing built to look at."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def wheel(request: pytest.FixtureRequest) -> zipfile.ZipFile:
    (path,) = Path(request.config.getoption("--distributions")).glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_kernel_plugins_data_and_licences(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    packages = {path.name for path in (ROOT / "plugins").glob("autorec_*")}
    assert {"autorec_kernel/py.typed", "autorec_kernel/data/movielens/ratings.csv.gz", "autorec_kernel/data/movielens/TERMS.md"} <= names
    assert {f"{package}/plugin.py" for package in packages} <= names
    assert {f"autorec_search/tables/{name}.csv.gz" for name in ("ml-100k", "ml-latest-small")} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    packages = {path.name for path in (ROOT / "plugins").glob("autorec_*")} | {"autorec_kernel"}
    strangers = {name for name in top - packages if not name.endswith(".dist-info")}
    assert strangers == set()


def test_the_sdist_can_build_test_and_document_itself(request: pytest.FixtureRequest) -> None:
    (path,) = Path(request.config.getoption("--distributions")).glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "tox.ini", "tests/conftest.py", "docs/index.md"} <= held
