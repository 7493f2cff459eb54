"""Trials: what was tried, what it cost, how it ended. Failure is data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autorec_kernel.space import Genotype

__all__ = ["STATUSES", "Cost", "Evaluation", "Proposal", "SearchResult", "Status", "Trial"]

Status = Literal["complete", "stopped", "failed", "timeout", "oom", "nan", "crashed", "killed", "infeasible"]
STATUSES: tuple[str, ...] = ("complete", "stopped", "failed", "timeout", "oom", "nan", "crashed", "killed", "infeasible")


@dataclass(frozen=True, slots=True)
class Cost:
    """Reproducible cost of a candidate, known before it is trained.

    Args:
        parameters: Exact count, embeddings included.
        bytes: Stored size of the serving model in float32.
        latency_ms: Latency of one request *predicted* from the run's device profile.
        train_seconds: Predicted seconds of one full training on one thread.
    """

    parameters: int = 0
    bytes: int = 0
    latency_ms: float = 0.0
    train_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a strategy asks to have evaluated."""

    genotype: Genotype
    parent: int | None = None  # number of the trial it was derived from
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluator found out about a genotype; JSON plus artefact paths, the same in a worker and on a cluster."""

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    measured: Mapping[str, float] = field(default_factory=dict)  # seconds, peak_bytes, …: never used for selection
    error: str = ""
    artefacts: Mapping[str, str] = field(default_factory=dict)  # name -> file name below the run folder
    details: Mapping[str, Any] = field(default_factory=dict)  # reproducible facts: best epoch, architecture digest, …

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "metrics": dict(self.metrics), "measured": dict(self.measured)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Read what `to_json` wrote."""
        return cls(**{**value, "cost": Cost(**value["cost"])})


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluated candidate at one rung.

    Args:
        number: Order of proposal, from 0; a promoted candidate keeps its number.
        rung: Index of the fidelity ladder, from 0.
        objectives: Values to maximise, in the order of the run's objectives; empty unless `complete` or `stopped`.
    """

    number: int
    genotype: Genotype
    status: Status
    objectives: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    rung: int = 0
    parent: int | None = None
    evaluator: str = ""
    seed: int = 0
    cost: Cost = field(default_factory=Cost)
    measured: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    reason: str = ""
    artefacts: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Return the first objective, minus infinity when there is none."""
        return self.objectives[0] if self.objectives else float("-inf")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the search found."""

    best: Trial | None
    front: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    seconds: float
    stopped_by: str = ""
    knee: int | None = None  # trial of the front where more of one figure costs most of the others
