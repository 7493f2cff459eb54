from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "deap",
    "faiss",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "optuna",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "torch_pruning",
)
# The registry and the declarations may load what they declare with (pluggy, pydantic), never what components compute with.
PLUGINS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "plugins").glob("autorec_*/plugin.py"))


def loaded_by(statement: str) -> set[str]:
    """Top-level names of HEAVY that a fresh process holds after `statement`."""
    code = f"import sys\n{statement}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_importing_the_kernel_loads_nothing_heavy() -> None:
    assert loaded_by("import autorec_kernel") == set()


def test_public_declaration_names_load_nothing_heavy() -> None:
    assert loaded_by("from autorec_kernel import ComponentSpec, hookimpl, AutoRecError") == set()


@pytest.mark.parametrize("module", ["autorec_kernel.registry", "autorec_kernel.hookspecs"])
def test_plugin_machinery_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


def test_discovering_every_plugin_loads_nothing_heavy() -> None:
    found = loaded_by("from autorec_kernel import Kernel\nkernel = Kernel.discover()")
    assert found == set()


@pytest.mark.parametrize("package", PLUGINS)
def test_a_declaration_module_loads_nothing_heavy(package: str) -> None:
    assert loaded_by(f"import {package}.plugin") == set()


def test_importing_the_kernel_leaves_the_process_alone() -> None:
    code = (
        "import logging, os, random, signal, warnings\n"
        "def state():\n"
        "    handlers = (signal.getsignal(signal.SIGINT), logging.root.handlers[:], list(warnings.filters))\n"
        "    return os.getcwd(), random.getstate(), dict(os.environ), handlers\n"
        "before = state()\n"
        "import autorec_kernel, autorec_kernel.registry, autorec_kernel.hookspecs\n"
        "print(before == state())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "True\n"
