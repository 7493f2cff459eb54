"""Other processes: the same computation with another hash seed, so that hidden dependence on the process shows.

Importing torch takes seconds, so one server a hash seed has done it and forks a fresh process for each request; where processes cannot be
forked, each request starts a server of its own. A process that computes has met no other component than the one it is asked about.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from functools import cache
from operator import attrgetter
from threading import Timer
from typing import Any

from autorec_kernel.testing.violation import Skipped, violated

__all__ = ["in_fresh_process", "main"]

_LIMIT_SECONDS = 180.0
_STARTING_SECONDS = 60.0  # of a server, and of killing what takes too long
_SERVE = "import sys, json; sys.path[:], forks = json.loads(sys.argv[1]); from autorec_kernel.testing.fresh import main; main(forks)"
_FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # where libraries that torch loads do not survive it
_LIBRARIES = ("pandas", "torch")


def in_fresh_process(function: str, component: Any, config: Any, hash_seed: int) -> Any:
    """Return `function(component, config)` as JSON values, computed in a new process.

    Raises:
        Skipped: The class cannot be imported by its name, so no other process can have it.
        Violation: The computation failed there.
    """
    if "<locals>" in component.__qualname__ or component.__module__ == "__main__":
        raise Skipped(f"{component.__module__}.{component.__qualname__} cannot be imported by another process: move it to a module")
    asked = {"function": function, "component": f"{component.__module__}:{component.__qualname__}", "path": sys.path}
    with tempfile.TemporaryDirectory() as folder:
        found = _answered({**asked, "config": json.loads(config.model_dump_json()), "folder": folder}, hash_seed)
    if "failed" in found:
        violated(f"it failed in a fresh process: {found['failed']}")
    if "missing" in found:
        raise Skipped(f"{component.__module__}.{component.__qualname__} cannot be imported by another process: is its module on sys.path?")
    return found["value"]


def _answered(asked: dict[str, Any], hash_seed: int) -> dict[str, Any]:
    if _FORKS:
        return _told(_server(hash_seed), asked)
    with _started(hash_seed) as server:
        return _told(server, asked)


def _told(server: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, Any]:
    assert server.stdin is not None and server.stdout is not None
    timer = Timer(_LIMIT_SECONDS + _STARTING_SECONDS, server.kill)
    timer.start()
    try:
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        line = server.stdout.readline()
    except BrokenPipeError:
        line = ""
    finally:
        timer.cancel()
    if not line:
        _server.cache_clear()
        return {"failed": f"its process ended with exit code {_ended(server)}"}
    found: dict[str, Any] = json.loads(line)
    return found


@cache
def _server(hash_seed: int) -> subprocess.Popen[str]:
    server = _started(hash_seed)
    atexit.register(_ended, server)
    return server


def _ended(server: subprocess.Popen[str]) -> int:
    server.kill()
    server.communicate()
    return server.returncode


def _started(hash_seed: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SERVE, json.dumps([sys.path, _FORKS])]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main(forks: bool = _FORKS) -> None:
    """Answer each request, a line of JSON on standard input, by a line of JSON on standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a component prints is no answer
    for library in _LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)
    for line in sys.stdin:
        asked = json.loads(line)
        sys.path[:] = asked["path"]
        answers.write((_forked(asked) if forks else _computed(asked)) + "\n")
        answers.flush()


def _forked(asked: dict[str, Any]) -> str:
    importlib.import_module(asked["function"].partition(":")[0])  # the kit's own: requests share it
    reads, writes = os.pipe()
    child = os.fork()  # this process has one thread and opens nothing that a child could disturb
    if not child:
        try:
            os.setpgid(0, 0)
            with os.fdopen(writes, "w") as answer:
                answer.write(_computed(asked) + "\n")
        finally:
            os._exit(1)  # an answer is what counts
    os.close(writes)
    with os.fdopen(reads, "rb", buffering=0) as answer:
        told = _line(answer.fileno(), child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _end(child)  # and what it started
    return told if told is not None else json.dumps({"failed": f"its process ended with exit code {code}"})


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _line(answer: int, child: int) -> str | None:
    """Return what a process writes up to the end of a line; None where it ends before. One that takes too long is ended."""
    told, ends = b"", time.monotonic() + _LIMIT_SECONDS
    while not told.endswith(b"\n"):
        if not select.select([answer], [], [], max(0.0, ends - time.monotonic()))[0]:
            _end(child)
            return json.dumps({"failed": f"it took more than {_LIMIT_SECONDS:.0f} seconds"})
        part = os.read(answer, 1 << 16)
        if not part:
            return None
        told += part
    return told.decode().strip()


def _computed(asked: dict[str, Any]) -> str:
    sys.path[:] = asked["path"]
    os.chdir(asked["folder"])
    try:
        kind = _named(asked["component"])
    except (ImportError, AttributeError):
        return json.dumps({"missing": asked["component"]})  # a class of a test module: it lives in the parent only
    try:
        return json.dumps({"value": _named(asked["function"])(kind, kind.Config(**asked["config"]))})
    except Exception as error:
        return json.dumps({"failed": traceback.format_exception_only(error)[-1].strip()})


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return attrgetter(name)(importlib.import_module(module))
