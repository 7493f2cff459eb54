from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Serving needs numpy and onnxruntime only: everything else that a full installation brings is made unimportable.
BLOCKED = ("torch", "pandas", "pydantic", "pyarrow", "scipy", "onnx", "onnxscript", "optuna", "deap", "narwhals", "pluggy", "typer", "rich")
BLOCKER = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
"""


def run_blocked(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKER + code], capture_output=True, text=True, timeout=120, check=False)


def test_the_blocker_blocks() -> None:
    assert "torch is blocked" in run_blocked("import torch").stderr


def test_serving_imports_with_numpy_and_onnxruntime_only(root: Path) -> None:
    done = run_blocked("import autorec_kernel.serving")
    assert done.returncode == 0, done.stderr


def test_serving_loads_no_room_of_the_road() -> None:
    done = run_blocked("import autorec_kernel.serving\nprint(*sorted(name for name in sys.modules if name.startswith('autorec_kernel.')))")
    assert done.returncode == 0, done.stderr
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert rooms <= {"serving", "records", "evaluation", "errors"}
