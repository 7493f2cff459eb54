"""Measured latency: variants take turns, so that a busy machine slows all of them alike. Recorded, never used for a choice."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from autorec_kernel.deploy.export import tile_rows
from autorec_kernel.serving.graph import Graph

__all__ = ["measure_latency"]

_WARM = 5


def measure_latency(
    graphs: Mapping[str, Graph], sample: Mapping[str, np.ndarray], *, batch: int = 1, rounds: int = 200, seconds: float = 2.0
) -> dict[str, dict[str, float]]:
    """Time one call of each graph in turn.

    Args:
        graphs: Name → session.
        sample: Input name → array of a few rows.
        batch: Rows of a call.
        rounds: Most calls of each graph.
        seconds: Wall-clock limit of the whole measurement.

    Returns:
        Name → {"p50_ms", "p95_ms", "calls"}, wall-clock milliseconds a call.
    """
    inputs = tile_rows(sample, batch) if sample else {}
    taken: dict[str, list[int]] = {name: [] for name in graphs}
    limit = time.monotonic() + seconds
    for number in range(_WARM + rounds):
        for name, graph in graphs.items():
            started = time.perf_counter_ns()
            graph.run(inputs)
            if number >= _WARM:
                taken[name].append(time.perf_counter_ns() - started)
        if time.monotonic() > limit and number >= _WARM:
            break
    return {name: _summary(np.array(values) / 1e6) for name, values in taken.items()}


def _summary(milliseconds: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(milliseconds, [50, 95])
    return {"p50_ms": float(low), "p95_ms": float(high), "calls": float(len(milliseconds))}
