"""A stranger's plugin as a real wheel: built, installed with pip into a fresh environment, listed, run, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autorec_kernel.testing.fixtures import declaring

pytestmark = pytest.mark.slow

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "stranger"
version = "3.2"

[project.entry-points."autorec.plugins"]
stranger = "stranger_plugin.plugin [api1]"

[tool.hatch.build.targets.wheel]
packages = ["stranger_plugin"]
"""
COMMAND = "def greet(name: str = 'you') -> None:\n    '''Greet.'''\n    print('greetings', name)\n"
METRIC = """
import numpy as np
from autorec_kernel.config import ComponentConfig

class Constant:
    kind = "rows"
    higher_is_better = True

    class Config(ComponentConfig):
        value: float = 0.5

    def __init__(self, config):
        self.config = config

    def score(self, *arrays):
        return np.full(len(arrays[0]), self.config.value)
"""


def _run(*command: object, **options: object) -> str:
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return str(ended.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("stranger")
    package = source / "stranger_plugin"
    package.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text('"""A plugin of a stranger."""\n')
    (package / "plugin.py").write_text(
        declaring("constant", hook="autorec_metrics", target="stranger_plugin.metric:Constant")
        + declaring("greet", hook="autorec_cli_commands", target="stranger_plugin.command:greet")
    )
    (package / "metric.py").write_text(METRIC)
    (package / "command.py").write_text(COMMAND)
    script = f"from hatchling.build import build_wheel; print(build_wheel({str(source)!r}))"
    return source / _run(sys.executable, "-c", script, cwd=source).split()[-1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A fresh virtual environment that borrows this one's packages and has the stranger installed by pip."""
    folder = tmp_path_factory.mktemp("venv")
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    borrowed = [path for path in sys.path if "site-packages" in path or Path(path, "autorec_kernel").is_dir()]
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    return folder


def _autorec(environment: Path, *words: str) -> str:
    variables = {**os.environ, "XDG_CACHE_HOME": str(environment / "cache")}
    return _run(environment / "bin" / "python", "-m", "autorec_kernel.cli", *words, cwd=environment, env=variables)


def test_the_wheel_carries_the_api_range_in_its_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("stranger-3.2.dist-info/entry_points.txt").decode()
    assert "stranger = stranger_plugin.plugin [api1]" in text


def test_an_installed_wheel_is_listed_with_its_distribution_and_version(environment: Path) -> None:
    listed = json.loads(_autorec(environment, "plugins", "list", "--json"))
    row = next(row for row in listed["plugins"] if row["name"] == "stranger")
    assert (row["status"], row["distribution"], row["version"], row["components"]) == ("ok", "stranger", "3.2", 2)
    assert "stranger/constant" in {row["id"] for row in listed["components"]}


def test_an_installed_wheels_command_and_component_run(environment: Path) -> None:
    assert _autorec(environment, "greet", "--name", "Ada") == "greetings Ada\n"
    script = (
        "from autorec_kernel.kernel import Kernel; import numpy as np; "
        "metric = Kernel.discover(allowed=['stranger']).create('metric', 'constant', value=0.25); print(metric.score(np.zeros(2)).tolist())"
    )
    assert _run(environment / "bin" / "python", "-c", script, cwd=environment) == "[0.25, 0.25]\n"


def test_a_removed_wheel_is_gone(environment: Path) -> None:
    _run(sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "uninstall", "-y", "stranger")
    listed = json.loads(_autorec(environment, "plugins", "list", "--json"))
    assert "stranger" not in {row["name"] for row in listed["plugins"]}
