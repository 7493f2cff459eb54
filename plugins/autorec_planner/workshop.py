"""`Workshop`: builds what plans ask for, trains nothing twice, and knows how much time is left."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from autorec_kernel.contracts import Candidate, PlanRequest
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.serving.graph import Graph
from autorec_planner.cost import listed_microseconds
from autorec_planner.verdict import Verdict, judged

__all__ = ["Setting", "StepFailed", "Workshop", "graph_of"]

_PROBING = 0.6  # of the time, after which no more training is begun for probes


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """One compressor with one config; `place` is what its class says of the order of steps."""

    component: str
    config: Mapping[str, Any]
    form: Literal["module", "graph"]
    place: int | None = None

    @property
    def key(self) -> str:
        """Return what tells it from other settings."""
        return f"{self.component} {json.dumps(dict(self.config), sort_keys=True)}"


class StepFailed(Exception):
    """A step of a plan could not be built; `place` says which."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}"[:300])
        self.place = place


@dataclass(slots=True, eq=False)
class Workshop:
    """Candidates by the settings that led to them; those of module compressors, which may have been trained, are kept."""

    request: PlanRequest
    _trained: dict[tuple[str, ...], Candidate] = field(default_factory=dict)
    _qualities: dict[tuple[str, ...], Quality] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def in_time(self, training: bool = False) -> bool:
        """Return whether another step may begin."""
        ends = self.request.deadline
        if ends is None:
            return True
        return time.monotonic() < (self._began + _PROBING * (ends - self._began) if training else ends)

    def build(self, steps: tuple[Setting, ...]) -> Candidate:
        """Return the start with these steps applied.

        Raises:
            StepFailed: One of them is not applicable there, or failed.
        """
        current, keys = self.request.start, tuple(step.key for step in steps)
        for place, step in enumerate(steps):
            known = self._trained.get(keys[: place + 1])
            try:
                current = known or self.request.apply(current, step.component, step.config)
            except Exception as error:  # a plugin's code: its failure is a row of the plan
                raise StepFailed(place, error) from error
            if step.form == "module":
                self._trained[keys[: place + 1]] = current
        return current

    def quality(self, steps: tuple[Setting, ...], candidate: Candidate) -> Quality:
        """Return the quality of a candidate that `build` made, measured once.

        Raises:
            StepFailed: It does not answer; the last step is blamed.
        """
        key = tuple(step.key for step in steps)
        if key not in self._qualities:
            try:
                self._qualities[key] = self.request.measure(candidate)
            except Exception as error:  # a graph that a plugin made
                raise StepFailed(len(steps) - 1, error) from error
        return self._qualities[key]

    def verdict(self, quality: Quality) -> Verdict:
        """Compare with the uncompressed model."""
        start = self.request.start.quality
        assert start is not None
        return judged(quality, start, self.request.target, self.request.seed)

    def listed(self, candidate: Candidate) -> tuple[float, float]:
        """Return the listed microseconds of a call of one row, and of one of the target's batch."""
        steps = max((value.shape[1] for value in self.request.context.sample.values() if _is_history(value)), default=1)
        graph = candidate.model.graph or b""
        return listed_microseconds(graph, 1, steps), listed_microseconds(graph, self.request.target.batch, steps)


def graph_of(candidate: Candidate, threads: int) -> Graph:
    """Open a session on a candidate's graph."""
    return Graph(candidate.model.graph or b"", graph_spec(candidate.model.model.module), name="graph", threads=threads)


def _is_history(value: np.ndarray) -> bool:
    return value.ndim == 2 and value.dtype.kind in "iu"
