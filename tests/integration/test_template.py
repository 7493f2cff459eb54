"""The template for plugin authors: built as a wheel, installed beside the kernel, it is listed, checked and passes its own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[2] / "contrib" / "template"
ENTRY = "import sys; from autorec_kernel.cli.main import main; sys.exit(main())"


def _run(arguments: list[str], folder: Path, site: Path | None = None) -> str:
    path = os.pathsep.join(part for part in (str(site) if site else "", os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built wheel was installed into."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(TEMPLATE, folder / "source", ignore=shutil.ignore_patterns("dist", "__pycache__"))
    _run(["-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")], folder / "source")
    (wheel,) = (folder / "dist").glob("*.whl")
    _run(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)], folder)
    return folder / "site"


def test_an_installed_template_is_listed_with_its_distribution(site: Path, tmp_path: Path) -> None:
    listed = _run(["-c", ENTRY, "plugins", "list", "--kind", "model-block"], tmp_path, site)
    (row,) = [line.split() for line in listed.splitlines() if "template/gate" in line]
    assert row[:5] == ["model-block", "template/gate", "ok", "autorec-plugin-template", "0.1.0"]


@pytest.mark.slow
def test_an_installed_template_keeps_its_contract(site: Path, tmp_path: Path) -> None:
    _run(["-c", ENTRY, "plugins", "check", "template"], tmp_path, site)


@pytest.mark.slow
def test_the_template_passes_its_own_tests(site: Path, tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE / "tests", tmp_path / "tests")
    assert "passed" in _run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path / "tests")], tmp_path, site)
