"""`WorkerProcess`: one spawned worker as its parent sees it. Messages, its last words, and an end that takes its descendants along."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from autorec_workers.wire import receive, send

__all__ = ["THREAD_VARIABLES", "Guard", "WorkerProcess"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from autorec_workers.worker import main; main()"
_TAIL = 8192  # bytes of stderr that are kept
_REAP_SECONDS = 10.0  # for a killed process that the system does not let go
_FAREWELL_SECONDS = 2.0  # between the end of a worker's messages and its own end
_GROUPS = hasattr(os, "killpg")


class Guard:
    """The process that kills the workers' groups when this process is gone. Where there are no groups, it does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        if _GROUPS:
            command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))]
            nowhere = subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, bufsize=0, start_new_session=True
            )

    def add(self, group: int) -> None:
        """Kill this group when this process is gone."""
        self._tell(b"+%d\n" % group)

    def remove(self, group: int) -> None:
        """Forget this group."""
        self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """End the guard; groups it still knows are killed."""
        if self._process is not None and self._process.stdin is not None:
            with self._lock, contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()

    def _tell(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._lock, contextlib.suppress(OSError, ValueError):  # a guard that was killed is missed, not needed
                self._process.stdin.write(line)


class WorkerProcess:
    """A spawned worker, in a session of its own. It must be made by a thread that lives as long as it (Linux ends it with that thread).

    Args:
        origin: How the worker builds its kernel.
        threads: Threads of its linear algebra, in its environment before anything is imported.
    """

    def __init__(self, origin: Mapping[str, Any], threads: int, guard: Guard) -> None:
        self.threads = threads
        self.ready = False
        self.served = 0  # tasks sent to it
        self._ended = False
        self._guard = guard
        self._messages: queue.Queue[Any] = queue.Queue()
        self._tail = b""
        self._mark = self._seen = b""  # what it writes to stderr before the last task given, and the last of these that was read
        path = [os.path.abspath(entry) for entry in sys.path]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, json.dumps(path)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=_environment(threads),
            bufsize=0,
            start_new_session=True,
        )
        guard.add(self.pid)
        self._pumps = (
            threading.Thread(target=self._pump_messages, args=(_open(self._process.stdout),), daemon=True),
            threading.Thread(target=self._pump_stderr, args=(_open(self._process.stderr),), daemon=True),
        )
        for pump in self._pumps:
            pump.start()
        self._send({"origin": dict(origin), "parent": os.getpid()})

    @property
    def pid(self) -> int:
        """Process id, which is also that of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def get_ready(self, seconds: float) -> None:
        """Wait until it can take tasks.

        Raises:
            EOFError: It ended.
            RuntimeError: It could not build its kernel, or was not ready in time.
        """
        message = self.take(seconds)
        if message is None:
            raise RuntimeError(f"it was not ready within {seconds:g} s")
        if "ready" not in message:
            raise RuntimeError(str(message.get("broken", "it broke the protocol")))
        self.ready = True

    def give(self, task: Mapping[str, Any]) -> None:
        """Send a task; a worker that is gone shows at the next `take`."""
        self.served += 1
        mark = uuid.uuid4().hex
        self._mark = mark.encode()
        self._send({"task": dict(task), "mark": mark})

    def take(self, seconds: float) -> Any:
        """Return the next message, or None after `seconds`.

        Raises:
            EOFError: It ended, or broke the protocol, and there is no message left.
        """
        try:
            message = self._messages.get(timeout=max(seconds, 0.001))
        except queue.Empty:
            if self.alive:
                return None
            message = self._last_message()
        if message is None:
            raise EOFError("the worker is gone")
        return message

    def death(self) -> int | None:
        """Return the exit code of a worker that ended by itself, negative = signal; None when it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_FAREWELL_SECONDS)
        return None

    def kill(self) -> None:
        """Kill it and its group at once; `end` is still due."""
        if self._process.returncode is None:
            _signal(self._process, "SIGKILL")

    def end(self, grace: float = 0.0) -> None:
        """End the worker and everything it has started; a second call does nothing.

        Args:
            grace: Seconds between SIGTERM and SIGKILL; 0 = SIGKILL at once.
        """
        if self._ended:
            return
        self._ended = True
        offspring = _offspring(self.pid) if self._process.returncode is None else []
        if grace and self.alive:
            _signal(self._process, "SIGTERM")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        _signal(self._process, "SIGKILL")
        for child in offspring:
            with contextlib.suppress(psutil.Error):
                child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_SECONDS)
        self._guard.remove(self.pid)
        self._close()

    def last_words(self) -> str:
        """Return the end of what it wrote to stdout and stderr since it began with the last task."""
        words = self._tail if self._seen == self._mark else b""
        return words.decode("utf-8", "replace").strip()

    def _send(self, value: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            send(_open(self._process.stdin).fileno(), value)

    def _last_message(self) -> Any:
        """Return what it sent before it ended, if anything; a descendant that holds the pipe must not keep us waiting."""
        self._pumps[0].join(0.5)
        try:
            return self._messages.get_nowait()
        except queue.Empty:
            return None

    def _pump_messages(self, stdout: IO[bytes]) -> None:
        try:
            while (message := receive(stdout.fileno())) is not None:
                self._messages.put(message)
        except (OSError, ValueError):
            self._messages.put(None)
            return
        self._messages.put(None)

    def _pump_stderr(self, stderr: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stderr.fileno(), 2**16):
                said, mark = self._tail + part, self._mark
                if mark and mark in said:
                    said, self._seen = said.rpartition(mark)[2], mark
                self._tail = said[-_TAIL:]

    def _close(self) -> None:
        for pump in self._pumps:
            pump.join(1.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _open(stream).close()


def _environment(threads: int) -> dict[str, str]:
    """Return the parent's environment with thread counts, and with one hash seed, so that sets have one order in all workers."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONHASHSEED": "0"}


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # every stream of a worker is a pipe
    return stream


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to the whole group, which may outlive its first process."""
    with contextlib.suppress(OSError):
        if _GROUPS:
            os.killpg(process.pid, getattr(signal, name))
        else:
            process.kill()


def _offspring(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []
