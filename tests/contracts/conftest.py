"""The wheel of planted defects: built from its own project, unpacked into a folder of its own, found through its entry points."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autorec_kernel.testing import host

SOURCE = Path(__file__).parents[1] / "defects"


@pytest.fixture(scope="session")
def defects_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the built wheel is installed."""
    folder = tmp_path_factory.mktemp("defects")
    project, site = folder / "project", folder / "site"
    shutil.copytree(SOURCE, project, ignore=shutil.ignore_patterns("__pycache__"))
    script = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / done.stdout.strip().splitlines()[-1]) as wheel:
        wheel.extractall(site)
    return site


@pytest.fixture(scope="module")
def defects_site(defects_folder: Path) -> Iterator[Path]:
    """Yield that folder on `sys.path`, for one module only: everybody else's kernels are to hold no defect."""
    host._installed.cache_clear()
    sys.path.insert(0, str(defects_folder))
    yield defects_folder
    sys.path.remove(str(defects_folder))
    host._installed.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "autorec_defects"]:
        del sys.modules[name]
