"""`LocalWorkers`: an executor that keeps worker processes on this machine and outlives whatever a trial does to them."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.errors import InfrastructureError, UsageError
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.lines import plain
from autorec_kernel.search.tasks import task_json
from autorec_workers.lane import Lane, Limits
from autorec_workers.memory import default_cap
from autorec_workers.process import Guard, WorkerProcess

__all__ = ["LocalWorkers"]

_Job = tuple[dict[str, Any], "Future[Evaluation]"]


@dataclass(slots=True)
class _Pool:
    """What is open between `start` and `close`: a lane and a thread per worker, and one queue for all."""

    lanes: tuple[Lane, ...]
    guard: Guard
    jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    threads: list[threading.Thread] = field(default_factory=list)


class LocalWorkers:
    """Spawned processes that live for many trials. Tasks run in the order in which they were submitted.

    A task that exceeds its time or memory is ended with everything it has started, its worker is replaced, and the others go on.
    """

    class Config(ComponentConfig):
        """Options."""

        threads: int = Field(1, ge=1, le=1024, description="Threads of the first workers; tasks that state others get others.")
        memory_share: float = Field(0.8, gt=0, le=1, description="Share of free memory for all workers, if a task has no cap.")
        start_seconds: float = Field(120.0, gt=0, le=86_400, description="Seconds a worker may take until it is ready.")
        grace_seconds: float = Field(
            5.0, ge=0, le=86_400, description="Seconds between SIGTERM and SIGKILL of a task that is over its deadline."
        )
        retries: int = Field(
            1, ge=0, le=100, description="How often a task is run again, with its seed, after its worker was killed from outside."
        )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._mutex = threading.Lock()
        self._pool: _Pool | None = None

    def start(self, plugins: Mapping[str, Any], workers: int) -> None:
        """Open the workers.

        Args:
            plugins: What `Kernel.origin()` returned.
            workers: Number of processes, from 1.

        Raises:
            UsageError: They are open already, or the number is not positive.
            InfrastructureError: This interpreter cannot start processes.
        """
        if workers < 1:
            raise UsageError(f"{workers} workers cannot run anything", hint="ask for 1 or more")
        if not sys.executable:
            raise InfrastructureError("the path of this Python interpreter is unknown, so no worker can be started")
        origin = json.loads(json.dumps(plugins))
        with self._mutex:
            if self._pool is not None:
                raise UsageError("the workers are open already", hint="call close() first")
            self._pool = self._open(origin, workers)

    def submit(self, task: Task) -> Future[Evaluation]:
        """Queue a task; returns at once.

        Raises:
            UsageError: The workers are not open.
            ContractError: The task holds something that JSON has no form for.
        """
        job = plain({**task_json(task), "run": os.path.abspath(task.run)}, "task")
        future: Future[Evaluation] = Future()
        with self._mutex:
            if self._pool is None:
                raise UsageError("the workers are not open", hint="call start(kernel.origin(), workers) first")
            self._pool.jobs.put((job, future))
        return future

    def close(self) -> None:
        """End every worker. Queued tasks are cancelled, running ones become `killed`; a second call does nothing."""
        with self._mutex:
            pool, self._pool = self._pool, None
        if pool is None:
            return
        for lane in pool.lanes:
            lane.stop()
        _cancel_queued(pool)
        for _ in pool.threads:
            pool.jobs.put(None)
        for thread in pool.threads:
            if thread is not threading.current_thread():
                thread.join()
        pool.guard.close()

    def _open(self, origin: Mapping[str, Any], workers: int) -> _Pool:
        config = self.config
        limits = Limits(default_cap(workers, config.memory_share), config.start_seconds, config.grace_seconds, config.retries)
        try:
            guard = Guard()
        except OSError as error:
            raise InfrastructureError(f"no process can be started: {error}", hint="end other processes or raise the limit") from error
        pool = _Pool(tuple(Lane(lambda threads: WorkerProcess(origin, threads, guard), limits) for _ in range(workers)), guard)
        for lane in pool.lanes:
            thread = threading.Thread(target=_serve, args=(lane, pool.jobs, config.threads), daemon=True)
            pool.threads.append(thread)
            thread.start()
        return pool


def _serve(lane: Lane, jobs: queue.SimpleQueue[_Job | None], threads: int) -> None:
    """Take tasks until told to stop: the life of the thread that owns a worker."""
    lane.warm(threads)
    while (job := jobs.get()) is not None:
        task, future = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            found = lane.evaluate(task)
        except Exception as error:  # a fault of this package must not leave anyone waiting
            found = Evaluation("crashed", error=f"the executor failed: {type(error).__name__}: {error}")
        future.set_result(found)
    lane.end()


def _cancel_queued(pool: _Pool) -> None:
    while True:
        try:
            job = pool.jobs.get_nowait()
        except queue.Empty:
            return
        if job is not None:
            job[1].cancel()
            job[1].set_running_or_notify_cancel()
