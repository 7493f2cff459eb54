"""A second process: the same computation with another hash seed, so that hidden dependence on the process shows."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from operator import attrgetter
from typing import Any

from autorec_kernel.testing.violation import Skipped, violated

__all__ = ["in_fresh_process", "main"]

_LIMIT_SECONDS = 180.0


def in_fresh_process(function: str, component: Any, config: Any, hash_seed: int) -> Any:
    """Return `function(component, config)` as JSON values, computed in a new process.

    Raises:
        Skipped: The class cannot be imported by its name, so no other process can have it.
        Violation: The computation failed there.
    """
    if "<locals>" in component.__qualname__ or component.__module__ == "__main__":
        raise Skipped(f"{component.__module__}.{component.__qualname__} cannot be imported by another process: move it to a module")
    asked = [function, f"{component.__module__}:{component.__qualname__}", json.loads(config.model_dump_json()), sys.path]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-c",
        "import sys, json; sys.path[:] = json.loads(sys.argv[1])[3]; from autorec_kernel.testing.fresh import main; main()",
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, json.dumps(asked)], cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        violated(f"it failed in a fresh process: {last[0]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer is None:
        raise Skipped(f"{component.__module__}.{component.__qualname__} cannot be imported by another process: is its module on sys.path?")
    return answer


def main() -> None:
    """Read the request from the command line, compute, and print the answer as the last line."""
    function, component, values, _ = json.loads(sys.argv[1])
    try:
        kind = _named(component)
    except (ImportError, AttributeError):
        print("null")  # a class of a test module: it lives in the parent only
        return
    print(json.dumps(_named(function)(kind, kind.Config(**values))))


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return attrgetter(name)(importlib.import_module(module))
