"""Laws of executors: whatever happens to a task, its future resolves to an evaluation, and results do not depend on where they ran."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.testing import kit_plugin
from autorec_kernel.testing.host import host
from autorec_kernel.testing.search_cases import spaces
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_bad_tasks_become_statuses",
    "check_executor_closes",
    "check_results_do_not_depend_on_workers",
    "check_submit_returns_at_once",
]

_WAIT_SECONDS = 120.0
_DEADLINE_SECONDS = 4.0


def check_results_do_not_depend_on_workers(component: Any, config: Any, kernel: Any = None) -> None:
    """One worker and two, in order and in reverse, give equal evaluations apart from what is measured."""
    tasks = [_task(kernel, "kit/steady", trial) for trial in range(6)]
    told = []
    for workers, order in ((1, tasks), (2, tasks), (2, tasks[::-1])):
        with _running(component, config, workers) as executor:
            futures = {task.trial: executor.submit(task) for task in order}
            told.append({trial: _plain(_result(future)) for trial, future in sorted(futures.items())})
    demand(told[0] == told[1] == told[2], "results depend on the number of workers or on the order of submission")
    demand(all(result["status"] == "complete" for result in told[0].values()), f"a steady task did not complete: {told[0]}")


def check_bad_tasks_become_statuses(component: Any, config: Any, kernel: Any = None) -> None:
    """A raising task is `failed`, a hanging one `timeout`, a dying one `crashed`, a greedy one `oom`; the others are not disturbed."""
    wanted = {
        "kit/raising": ("failed",),
        "kit/hanging": ("timeout",),
        "kit/exiting": ("crashed", "killed"),
        "kit/greedy": ("oom", "killed"),
    }
    with _running(component, config, 2) as executor:
        futures = {name: executor.submit(_task(kernel, name, trial)) for trial, name in enumerate(wanted)}
        steady = [executor.submit(_task(kernel, "kit/steady", trial)) for trial in range(10, 14)]
        for name, statuses in wanted.items():
            found = _result(futures[name])
            demand(found.status in statuses, f"a task that is {name.partition('/')[2]} ended as {found.status!r}, expected {statuses[0]!r}")
            demand(found.error, f"a task that is {name.partition('/')[2]} ended without a reason")
        after = [_result(future).status for future in steady]
        demand(after == ["complete"] * 4, f"good tasks beside bad ones ended as {after}")
        missing = _result(executor.submit(_task(kernel, "kit/nobody", 20)))
        demand(missing.status == "failed", f"a task whose evaluator does not exist ended as {missing.status!r}, expected 'failed'")


def check_submit_returns_at_once(component: Any, config: Any, kernel: Any = None) -> None:
    """`submit` queues and returns a future, also when every worker is busy."""
    with _running(component, config, 1) as executor:
        executor.submit(_task(kernel, "kit/hanging", 0))
        start = time.monotonic()
        futures = [executor.submit(_task(kernel, "kit/steady", trial)) for trial in range(1, 5)]
        demand(time.monotonic() - start < 2.0, f"submit blocked for {time.monotonic() - start:.1f} s while a worker was busy")
        strange = [type(future).__name__ for future in futures if not isinstance(future, Future)]
        demand(not strange, f"submit returned {strange}, expected a concurrent.futures.Future")
        demand(_result(futures[-1]).status == "complete", "a task queued behind a hanging one did not complete")


def check_executor_closes(component: Any, config: Any, kernel: Any = None) -> None:
    """`close` ends every worker soon, even one that hangs, may be called twice, and leaves no future without an answer."""
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    executor = component(config)
    executor.start(_origin(), 1)
    futures = [executor.submit(_task(kernel, "kit/hanging", 0, deadline=3600.0)), executor.submit(_task(kernel, "kit/steady", 1))]
    time.sleep(0.5)
    start = time.monotonic()
    executor.close()
    executor.close()
    demand(time.monotonic() - start < 20.0, f"close took {time.monotonic() - start:.0f} s with a hanging task")
    psutil.wait_procs([child for child in psutil.Process().children(recursive=True) if child.pid not in before], timeout=5)
    left = [child.name() for child in psutil.Process().children(recursive=True) if child.pid not in before and _working(child)]
    demand(not left, f"processes outlive close: {left}")
    open_ones = [i for i, future in enumerate(futures) if not future.done()]
    demand(not open_ones, f"futures {open_ones} never resolve after close")


def _working(process: Any) -> bool:
    """Return whether a child is alive and is not the standard library's helper that tracks shared resources."""
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


@contextmanager
def _running(component: Any, config: Any, workers: int) -> Iterator[Any]:
    executor = component(config)
    executor.start(_origin(), workers)
    try:
        yield executor
    finally:
        executor.close()


def _origin() -> dict[str, Any]:
    return Kernel(plugins={"kit": kit_plugin}).origin()


def _task(kernel: Any, evaluator: str, trial: int, deadline: float = _DEADLINE_SECONDS) -> Task:
    genotype = spaces()["tree"].default().to_json()
    patient = 60.0 if evaluator in ("kit/steady", "kit/greedy") and deadline == _DEADLINE_SECONDS else deadline
    memory = 1_500_000_000 if evaluator == "kit/greedy" else 0
    return Task(
        _run_folder(host(kernel)),
        trial,
        0,
        1.0,
        genotype,
        evaluator,
        5,
        deadline_seconds=patient,
        memory_bytes=memory,
        options={"host": os.getpid()},
    )


@lru_cache(maxsize=4)
def _run_folder(kernel: Any) -> str:
    """Return a folder laid out like a run's, kept until the process ends."""
    from autorec_kernel.search.tasks import FEATURES
    from autorec_kernel.testing.model_cases import features_for

    holder = tempfile.TemporaryDirectory(prefix="autorec-kit-")
    _held.append(holder)
    features_for(kernel, "recommend").save(Path(holder.name) / FEATURES)
    return holder.name


_held: list[Any] = []


def _result(future: Future[Evaluation]) -> Evaluation:
    try:
        found = future.result(timeout=_WAIT_SECONDS)
    except Exception as error:
        violated(f"a future raised {type(error).__name__}: {error}; whatever happens to a task, it resolves to an Evaluation")
    demand(isinstance(found, Evaluation), f"a future resolved to a {type(found).__name__}, expected an Evaluation")
    return found


def _plain(result: Evaluation) -> dict[str, Any]:
    return {name: value for name, value in result.to_json().items() if name != "measured"}
