"""The driver's side of a worker: start it on one core in its own environment, ask, read one JSON line."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PEERS", "Worker", "WorkerError"]

HERE = Path(__file__).parent
PEERS = {"recbole": "recbole", "torch-rechub": "rechub", "deepctr-torch": "deepctr", "fuxictr": "fuxi"}  # name → environment folder


class WorkerError(RuntimeError):
    """A worker ended early; the message holds the end of its error stream."""


class Worker:
    """A process that trains one model.

    Args:
        name: `ours` or a peer.
        script: Worker file in this folder.
        python: Interpreter of its environment.
        options: What `worker.Options` takes.
        core: The core it is pinned to.
        paths: Further import paths.
    """

    def __init__(self, name: str, script: str, python: str, options: dict[str, Any], core: int, paths: str = "") -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
        root = os.environ.get("BENCH_ROOT", str(HERE.parents[1]))  # another checkout to measure
        where = {"PYTHONPATH": os.pathsep.join(part for part in (paths, root) if part), "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [python, str(HERE / script), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **threads, **where},
            cwd=options.get("work", "/tmp"),
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self.facts = self._answer()

    def epoch(self) -> dict[str, float]:
        """Train one epoch: `cpu_s`, `wall_s`, `peak_mib`."""
        return self._ask("epoch")

    def scores(self, part: str = "") -> np.ndarray:
        """Return float64 [rows], the predicted probabilities of the test rows, or of `valid` or `test` as asked."""
        with tempfile.TemporaryDirectory() as folder:
            self._ask(f"scores {folder}/scores.npy {part}")
            return np.asarray(np.load(f"{folder}/scores.npy"))

    def close(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise WorkerError(f"{self.name}: " + self.errors.read()[-1500:])
        found: dict[str, Any] = json.loads(line)
        return found
