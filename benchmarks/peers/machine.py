"""What the machine is and what it allows: load, versions, and the speed of its matrix products at the sizes of the models."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

__all__ = ["facts_of_machine", "gemm_gflops", "tower_limit"]

_TOWER = ((128, 256), (256, 128), (128, 64), (64, 1))  # eight fields of width 16 into 256-128-64-1


def facts_of_machine() -> dict[str, Any]:
    """Return processor, cores, load and versions."""
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = [round(value, 2) for value in os.getloadavg()]
    return {"cpu": names[0], "cores": os.cpu_count(), "load": load, "python": platform.python_version(), "torch": torch.__version__}


def _seconds(rows: int, repeats: int = 40) -> float:
    """Return CPU seconds of the three products (forward, gradients of input and weight) of every layer for a batch, at best."""
    layers = [(torch.randn(rows, a), torch.randn(a, b), torch.randn(rows, b)) for a, b in _TOWER]
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        for x, w, g in layers:
            torch.mm(x, w), torch.mm(g, w.t()), torch.mm(x.t(), g)
        best = min(best, time.process_time() - begin)
    return best


def _pinned(core: int, rows: int) -> float:
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    try:
        os.sched_setaffinity(0, {core})
        torch.set_num_threads(1)
        return _seconds(rows)
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def gemm_gflops(core: int, rows: int) -> float:
    """Return GFLOP a CPU second of float32 products at the tower's sizes."""
    return round(sum(6 * rows * a * b for a, b in _TOWER) / _pinned(core, rows) / 1e9, 1)


def tower_limit(core: int, rows: int) -> int:
    """Return rows a CPU second that the tower's products alone allow, forward and backward."""
    return round(rows / _pinned(core, rows))
