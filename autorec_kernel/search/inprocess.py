"""Evaluate tasks in this process: what a kernel without an executor plugin does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.records.trial import Evaluation

__all__ = ["run_here"]


def run_here(evaluate: Callable[[Task], Evaluation]) -> Callable[[Task], Future[Evaluation]]:
    """Return a `submit` that evaluates at once; hard deadlines and memory limits need an executor plugin."""

    def submit(task: Task) -> Future[Evaluation]:
        future: Future[Evaluation] = Future()
        future.set_result(evaluate(task))
        return future

    return submit
