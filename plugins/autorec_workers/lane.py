"""`Lane`: one worker at a time. Runs a task on it, watches time and memory, says what became of the task, and replaces the worker."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from autorec_kernel.records.trial import Evaluation, Status
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_workers.memory import MemoryWatch
from autorec_workers.process import WorkerProcess

__all__ = ["Lane", "Limits"]

_log = logging.getLogger(__name__)
_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")  # signals that a trial does not send itself
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a lane grants.

    Args:
        memory_bytes: Cap of a task that states none.
        start_seconds: Time a worker may take until it is ready.
        grace_seconds: Time between SIGTERM and SIGKILL of a task that is over its deadline.
        retries: How often a task whose worker was killed from outside is run again.
    """

    memory_bytes: int
    start_seconds: float
    grace_seconds: float
    retries: int


class Lane:
    """One worker at a time; used by one thread, except `stop`.

    Args:
        spawn: Makes a worker process with a number of threads.
    """

    def __init__(self, spawn: Callable[[int], WorkerProcess], limits: Limits) -> None:
        self._spawn = spawn
        self._limits = limits
        self._worker: WorkerProcess | None = None
        self._stopped = threading.Event()
        self._mutex = threading.Lock()

    def warm(self, threads: int) -> None:
        """Start a worker before the first task comes; a failure shows when one does."""
        with contextlib.suppress(OSError):
            self._open(threads)

    def evaluate(self, task: Mapping[str, Any]) -> Evaluation:
        """Run a task, the JSON of a `Task`; never raises.

        A task whose worker was killed from outside is run again, `retries` times. Out of memory counts only in a fresh worker, so that the
        result does not depend on what the worker did before.
        """
        found = Evaluation("killed", error="the workers were closed")
        for _ in range(1 + max(1, self._limits.retries)):
            if self._stopped.is_set():
                break
            found, used = self._attempt(task)
            if not (found.status == "killed" and self._limits.retries) and not (found.status == "oom" and used):
                break
        return found

    def stop(self) -> None:
        """Kill the worker, from any thread; the task it is at becomes `killed`."""
        self._stopped.set()
        with self._mutex:
            if self._worker is not None:
                self._worker.kill()

    def end(self) -> None:
        """End the worker."""
        with self._mutex:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _attempt(self, task: Mapping[str, Any]) -> tuple[Evaluation, bool]:
        """Return what became of the task and whether its worker had served others before."""
        try:
            worker = self._ready(int(task["threads"]))
        except _Unstarted as error:
            self.end()
            return Evaluation("killed" if self._stopped.is_set() else error.status, error=str(error)), False
        watch = MemoryWatch(worker.pid, int(task["memory_bytes"]) or self._limits.memory_bytes)
        used = worker.served > 0
        found = self._watched(worker, task, watch)
        if found.status in ("oom", "timeout", "crashed", "killed"):
            self.end()
        return found, used

    def _ready(self, threads: int) -> WorkerProcess:
        """Return a worker that waits for a task.

        Raises:
            _Unstarted: There is none; the error says why.
        """
        worker = self._worker
        try:
            if worker is None or worker.threads != threads or not worker.alive:
                self.end()
                worker = self._open(threads)
            if not worker.ready:
                worker.get_ready(self._limits.start_seconds)
            return worker
        except (OSError, RuntimeError) as error:
            raise _Unstarted("crashed", f"no worker could be started: {error}") from error
        except EOFError:
            return _unready(self._worker)

    def _open(self, threads: int) -> WorkerProcess:
        worker = self._spawn(threads)
        with self._mutex:
            self._worker = worker
        if self._stopped.is_set():
            worker.kill()
        return worker

    def _watched(self, worker: WorkerProcess, task: Mapping[str, Any], watch: MemoryWatch) -> Evaluation:
        """Wait for the result; end the worker when time or memory is used up."""
        limit = float(task["deadline_seconds"]) or math.inf
        deadline = time.monotonic() + limit
        worker.give(task)
        while True:
            try:
                message = worker.take(min(watch.interval, deadline - time.monotonic()))
            except EOFError:
                return self._verdict(worker, task, watch)
            if message is not None:
                return _read(message)
            if time.monotonic() >= deadline:
                worker.end(self._limits.grace_seconds)
                return Evaluation("timeout", error=f"it ran longer than its limit of {limit:g} s and was ended", measured=_peak(watch))
            if watch.exceeded():
                worker.end()
                return _out_of_memory(watch)

    def _verdict(self, worker: WorkerProcess, task: Mapping[str, Any], watch: MemoryWatch) -> Evaluation:
        """Say what became of a task whose worker is gone."""
        code = worker.death()
        if self._stopped.is_set():
            return Evaluation("killed", error="the workers were closed")
        if code == -getattr(signal, "SIGKILL", 0) and watch.near:
            return _out_of_memory(watch)
        worker.end()
        status: Status = "killed" if _name(code) in _OUTSIDE else "crashed"
        found = Evaluation(status, measured=_peak(watch), error=f"its process {_ended(code)} before there was a result")
        return _with_last_words(found, worker.last_words(), task)


class _Unstarted(Exception):
    """No worker could be started; `status` is that of the task that waits for it."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _unready(worker: WorkerProcess | None) -> NoReturn:
    code = worker.death() if worker is not None else None
    words = worker.last_words()[-1000:] if worker is not None else ""
    status: Status = "killed" if _name(code) in _OUTSIDE else "crashed"
    raise _Unstarted(status, f"no worker could be started: it {_ended(code)} before it was ready\n{words}".strip())


def _read(message: Mapping[str, Any]) -> Evaluation:
    try:
        return Evaluation.from_json(message["evaluation"])
    except (KeyError, TypeError) as error:
        return Evaluation("crashed", error=f"its process sent no evaluation: {error}")


def _with_last_words(found: Evaluation, words: str, task: Mapping[str, Any]) -> Evaluation:
    """Keep what the process wrote last in a file of the run: equal runs crash equally, but addresses in such texts differ."""
    if not words:
        return found
    name = f"stderr-{task['trial']}-{task['rung']}.txt"
    try:
        folder = Path(task["run"]) / ARTEFACTS
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(words + "\n", encoding="utf-8")
    except OSError as error:
        _log.warning("what trial %s wrote last could not be kept: %s", task["trial"], error)
        return found
    _log.info("trial %s: %s; it wrote: %s", task["trial"], found.error, words[-500:])
    return replace(found, error=f"{found.error}; what it wrote last: {ARTEFACTS}/{name}", artefacts={"stderr": name})


def _out_of_memory(watch: MemoryWatch) -> Evaluation:
    told = {**_peak(watch), "cap_bytes": float(watch.cap)}
    return Evaluation("oom", error="it used more memory than it may and was ended", measured=told)


def _peak(watch: MemoryWatch) -> dict[str, float]:
    return {"peak_bytes": float(watch.peak)} if watch.peak else {}


def _name(code: int | None) -> str:
    """Return the name of the signal that ended a process, or nothing."""
    if code is None or code >= 0:
        return ""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _ended(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    return f"was ended by {_name(code)}" if code < 0 else f"ended with exit code {code}"
