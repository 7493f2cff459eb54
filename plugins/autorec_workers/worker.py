"""What runs in a worker process: take a task, evaluate it, send the evaluation; end with the parent, whatever the trial does."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_workers.wire import receive, send

if TYPE_CHECKING:
    from autorec_kernel.contracts.evaluator import Task
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.trial import Evaluation

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 500  # the system's out-of-memory killer takes a worker before its parent


def main() -> None:
    """Serve tasks until the parent closes the pipe or is gone."""
    source, target = _private_pipes()
    _behave()
    first = receive(source)
    if first is None or (hasattr(os, "getppid") and os.getppid() != first["parent"]):
        return
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(source, jobs), daemon=True).start()
    kernel = _prepare(first["origin"], target)
    home, pid = Path.cwd(), os.getpid()
    while True:
        job = jobs.get()
        with contextlib.suppress(OSError):
            os.write(2, job["mark"].encode())  # what stderr holds before it is of earlier tasks
        answer = {"evaluation": _answer(job["task"], kernel)}
        if os.getpid() != pid:  # a trial has forked and let the copy return
            os._exit(0)
        _tidy(home)
        send(target, answer)


def _private_pipes() -> tuple[int, int]:
    """Return descriptors for messages. Whatever prints goes to stderr, what reads stdin finds nothing, and children inherit neither."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, target


def _behave() -> None:
    """End with the parent, be first in line when memory runs out, report crashes in words and leave no core file."""
    faulthandler.enable()
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _listen(source: int, jobs: queue.Queue[dict[str, Any]]) -> None:
    """Queue what comes; when nothing can come any more, end this process and its group, in the middle of a trial if need be."""
    with contextlib.suppress(OSError, ValueError):
        while (job := receive(source)) is not None:
            jobs.put(job)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _prepare(origin: Mapping[str, Any], target: int) -> Kernel:
    """Import what every trial needs, build the kernel and say that tasks may come; say why if that fails, and end."""
    try:
        import torch  # noqa: F401

        import autorec_kernel.search.tasks  # noqa: F401
        from autorec_kernel.kernel import Kernel

        kernel = Kernel.rebuild(origin)
    except BaseException as error:
        send(target, {"broken": "".join(traceback.format_exception_only(error)).strip()[-2000:]})
        raise
    send(target, {"ready": True})
    return kernel


def _answer(job: Mapping[str, Any], kernel: Kernel) -> dict[str, Any]:
    """Return the evaluation of a task as JSON values; whatever is raised or returned, it is one."""
    from autorec_kernel.records.trial import Evaluation
    from autorec_kernel.search.tasks import run_task, task_from_json

    try:
        task = task_from_json(job)
        return _plain(_finite(run_task(task, kernel), task))
    except BaseException as error:  # SystemExit and a KeyboardInterrupt of the trial's own making are failures of the trial
        reason = "".join(traceback.format_exception(error)[-6:])[-2000:]
        return Evaluation("failed", error=reason).to_json()


def _finite(found: Evaluation, task: Task) -> Evaluation:
    """Return the evaluation, as `nan` when it claims to be complete with a metric that is no number."""
    value = found.metrics.get(task.metric, 0.0)
    if found.status != "complete" or math.isfinite(value):
        return found
    return replace(found, status="nan", error=f"the validation metric {task.metric} is {value}")


def _plain(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON values.

    Raises:
        TypeError, ValueError, ContractError: It holds something that no evaluation may hold.
    """
    from autorec_kernel.records.trial import STATUSES
    from autorec_kernel.search.lines import plain

    value: dict[str, Any] = plain(found.to_json(), "evaluation")
    if value["status"] not in STATUSES:
        raise ValueError(f"the evaluator returned the status {value['status']!r}, expected one of {', '.join(STATUSES)}")
    strange = [name for name in ("metrics", "measured") for part in value[name].values() if not isinstance(part, int | float | None)]
    if strange:
        raise TypeError(f"the evaluator returned {strange[0]} that are not numbers")
    return value


def _tidy(home: Path) -> None:
    """Undo what a trial may have done to the process and what could change the next one."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(OSError):
        os.chdir(home)
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL if name == "SIGTERM" else signal.default_int_handler)
