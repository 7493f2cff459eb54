"""`Watch`: judges a network after each epoch, and writes the curves of its training as they grow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autorec_kernel.evaluation import parse_metric
from autorec_kernel.models import FitReport, Network

__all__ = ["Watch"]


class Watch:
    """What a training is stopped on, and its history.

    The curves are one JSON object an epoch: `epoch`, `rate` (learning rate of its last step), `loss` (mean over its batches), and every
    validation metric; where the root of the mean squared error is among them, so is its square, `mse`.

    Attributes:
        best: Metrics and values of the epoch whose weights training keeps, the first one with the highest value; None before any.

    Args:
        judge: Returns the validation metrics of a network, and its value for each user or row.
        metric: The one to go by.
        path: Where the curves are written; what is there is replaced.
    """

    def __init__(self, judge: Callable[[Network], tuple[dict[str, float], np.ndarray]], metric: str, path: Path) -> None:
        self.history: list[dict[str, float]] = []
        self.best: tuple[dict[str, float], np.ndarray] | None = None
        self._judge, self._metric, self._path = judge, metric, path
        self._highest = -math.inf
        self._sign = 1.0 if parse_metric(metric)[0].higher_is_better else -1.0

    def __call__(self, network: Network) -> float:
        """Judge a network; return a value to maximise."""
        judged = self._judge(network)
        found = dict(judged[0])
        if "rmse" in found:
            found["mse"] = found["rmse"] ** 2
        self.history.append(found)
        value = self._sign * found[self._metric]
        if value > self._highest:
            self.best, self._highest = judged, value
        return value

    def epoch(self, report: FitReport) -> None:
        """Write the line of the epoch that has just ended."""
        number = len(report.losses)
        told = {"epoch": number, "rate": report.rates[-1], "loss": report.losses[-1], **self.history[-1]}
        line = json.dumps({name: round(value, 10) for name, value in told.items() if math.isfinite(value)})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("w" if number == 1 else "a", encoding="utf-8") as file:
            file.write(line + "\n")
