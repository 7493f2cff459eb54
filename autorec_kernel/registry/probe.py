"""Find out in a throw-away process, under a time limit, what importing a plugin's declaration module does."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["Verdict", "probe"]

_CHILD = (
    "import json, sys; job = json.loads(sys.stdin.buffer.read()); sys.path[:] = job['path']; "
    "from autorec_kernel.registry.probe_child import main; main(job['modules'])"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe saw.

    Args:
        outcome: imports, raises, slow (over the limit), dies (the process ended), or unprobed (no process could be started).
        reason: The exception, or how the process ended.
        effects: Side effects worth a warning; `prints` and `writes to stderr` among them.
    """

    outcome: str
    reason: str = ""
    effects: tuple[str, ...] = ()


def probe(modules: Sequence[str], seconds: float) -> dict[str, Verdict]:
    """Import each module in a throw-away process.

    One process serves all of them; when a module hangs or kills it, that module is named and a new process takes the rest.

    Args:
        modules: Dotted names, in the order to import them.
        seconds: Limit of wall-clock time for each import.
    """
    verdicts: dict[str, Verdict] = {}
    waiting = list(dict.fromkeys(modules))
    while waiting:
        seen = _run(waiting, seconds)
        if not seen:
            return verdicts | {module: Verdict("unprobed") for module in waiting}
        verdicts |= seen
        waiting = [module for module in waiting if module not in verdicts]
    return verdicts


def _run(modules: Sequence[str], seconds: float) -> dict[str, Verdict]:
    if not sys.executable:
        return {}
    command = [sys.executable, "-P", "-c", _CHILD]
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError:
        return {}
    try:
        _send(child.stdin, {"path": sys.path, "modules": list(modules)})
        return _listen(child, seconds)
    finally:
        _end(child)


def _send(stdin: IO[bytes] | None, job: Mapping[str, Any]) -> None:
    if stdin is None:
        return
    with contextlib.suppress(BrokenPipeError), stdin:
        stdin.write(json.dumps(job).encode())


def _listen(child: subprocess.Popen[bytes], seconds: float) -> dict[str, Verdict]:
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
    verdicts: dict[str, Verdict] = {}
    current = ""
    while True:
        try:
            line = lines.get(timeout=seconds if current else max(seconds, 20.0))
        except queue.Empty:
            return verdicts | ({current: Verdict("slow", f"import took longer than {seconds:g} s")} if current else {})
        if not line:
            return verdicts | ({current: Verdict("dies", _death(child))} if current else {})
        report = json.loads(line)
        current = report.get("begin", "")
        if "end" in report:
            verdicts[report["end"]] = Verdict("raises" if report["reason"] else "imports", report["reason"], tuple(report["effects"]))


def _pump(stdout: IO[bytes] | None, lines: queue.Queue[bytes]) -> None:
    if stdout is not None:
        with stdout:
            for line in stdout:
                lines.put(line)
    lines.put(b"")


def _death(child: subprocess.Popen[bytes]) -> str:
    try:
        code = child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "import closed the probe's output"
    if code >= 0:
        return f"import ended the process with exit code {code}"
    try:
        return f"import ended the process with {signal.Signals(-code).name}"
    except ValueError:
        return f"import ended the process with signal {-code}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the process and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()
