"""What runs in the throw-away process: import declaration modules one by one and report what each import did."""

from __future__ import annotations

import json
import locale
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from autorec_kernel.registry.faults import guarded

__all__ = ["main"]

HEAVY = ("numpy", "torch", "pandas", "optuna", "deap", "scipy", "sklearn", "onnx", "onnxruntime", "torch_pruning", "ray")


def main(modules: Sequence[str]) -> None:
    """Write one JSON line at the begin and one at the end of every import, then end the process."""
    report, written = _redirect()
    for module in modules:
        _write(report, {"begin": module})
        _write(report, {"end": module, **_examine(module, written)})
    os._exit(0)  # threads that an import has started must not keep this process alive


def _redirect() -> tuple[int, dict[str, int]]:
    """Keep the real stdout for reports; give the imports an empty stdin, and files for stdout and stderr, told by their effect."""
    report = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    written = {}
    for effect, target in (("prints", 1), ("writes to stderr", 2)):
        with tempfile.TemporaryFile() as file:
            written[effect] = os.dup(file.fileno())
        os.dup2(written[effect], target)
    return report, written


def _write(report: int, line: dict[str, Any]) -> None:
    os.write(report, json.dumps(line).encode() + b"\n")


def _examine(module: str, written: Mapping[str, int]) -> dict[str, Any]:
    before, sizes, loaded = _state(), _sizes(written), frozenset(sys.modules)
    _, reason = guarded(lambda: import_module(module))
    after = _state()
    guarded(lambda: sys.stdout.flush())
    guarded(lambda: sys.stderr.flush())
    effects = [f"changes {what}" for what in before if after[what] != before[what]]
    effects += [f"imports {name}" for name in HEAVY if name in sys.modules and name not in loaded]
    effects += [effect for effect, size in _sizes(written).items() if size > sizes[effect]]
    return {"reason": reason, "effects": effects}


def _sizes(written: Mapping[str, int]) -> dict[str, int]:
    return {effect: os.fstat(file).st_size for effect, file in written.items()}


def _state() -> dict[str, Any]:
    """Return what an import has no business to change, by its name in the report."""
    return {what: guarded(read) for what, read in _WATCHED.items()}


def _numpy_seed() -> Any:
    """Return the state of numpy's global generator, without importing numpy; a fresh, unseeded one counts as absent."""
    numpy = sys.modules.get("numpy")
    shared = getattr(getattr(getattr(numpy, "random", None), "mtrand", None), "_rand", None)
    seeded = getattr(getattr(shared, "_bit_generator", None), "_seed_seq", shared) is None
    return None if shared is None or not seeded else shared.get_state()[1].tobytes()


_WATCHED: dict[str, Callable[[], Any]] = {
    "the working directory": os.getcwd,
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the warning filters": lambda: [str(entry) for entry in warnings.filters],
    "signal handlers": lambda: [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    "the random state": lambda: (random.getstate(), _numpy_seed()),
    "environment variables": lambda: dict(os.environ),
    "sys.path": lambda: list(sys.path),
    "log handlers": lambda: [repr(handler) for handler in logging.root.handlers],
    "the number of threads": threading.active_count,
}
