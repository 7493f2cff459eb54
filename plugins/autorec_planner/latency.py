"""Measured latency: variants take turns on one core, so that a busy machine slows all of them alike."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from autorec_kernel.deploy.export import tile_rows

__all__ = ["Answering", "measure_latency", "pinned"]

_WARM = 5


class Answering(Protocol):
    """What can be timed: a `Graph`, or anything that is called alike."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """Answer one batch."""
        ...


def measure_latency(
    graphs: Mapping[str, Answering],
    sample: Mapping[str, np.ndarray],
    *,
    batch: int = 1,
    rounds: int = 200,
    seconds: float = 2.0,
    cores: int = 1,
) -> dict[str, dict[str, float]]:
    """Time one call of each graph in turn, in an order that is drawn anew each round; every timed call follows an untimed one.

    Args:
        graphs: Name → session.
        sample: Input name → array of a few rows.
        batch: Rows of a call.
        rounds: Most calls of each graph.
        seconds: Wall-clock limit of the whole measurement.
        cores: That the calls are held to: as many as a session has threads.

    Returns:
        Name → {"p50_ms", "p95_ms", "p99_ms", "cpu_ms", "calls", "pinned"}: wall-clock milliseconds a call; the median of the calling
        thread's own, which a busy machine changes least; 1 where the thread was held to its cores.
    """
    inputs = tile_rows(sample, batch) if sample else {}
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in graphs}
    limit = time.monotonic() + seconds
    order, rng = list(graphs), np.random.default_rng(0)
    with pinned(cores) as held:
        for number in range(_WARM + rounds):
            rng.shuffle(order)
            for name in order:
                graph = graphs[name]
                graph.run(inputs)  # what ran before leaves its own weights in the caches
                own = time.thread_time_ns()  # a system call of a microsecond: the wall clock does not see it
                wall = time.perf_counter_ns()
                graph.run(inputs)
                wall = time.perf_counter_ns() - wall
                if number >= _WARM:
                    taken[name].append((wall, time.thread_time_ns() - own))
            if time.monotonic() > limit and number >= _WARM:
                break
    return {name: {**_summary(np.array(values) / 1e6), "pinned": float(held)} for name, values in taken.items()}


@contextlib.contextmanager
def pinned(cores: int = 1) -> Iterator[bool]:
    """Hold the calling thread to one core, or to some, where the system can, and say whether it does."""
    try:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(before)[-cores:])
    except (AttributeError, OSError):  # not on this system, or not allowed
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def _summary(milliseconds: np.ndarray) -> dict[str, float]:
    low, high, tail = np.percentile(milliseconds[:, 0], [50, 95, 99])
    own = float(np.median(milliseconds[:, 1]))
    return {"p50_ms": float(low), "p95_ms": float(high), "p99_ms": float(tail), "cpu_ms": own, "calls": float(len(milliseconds))}
