"""`Agreement`: how far a cheap evaluator orders candidates as full training does, and whether that is enough to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

__all__ = ["FEWEST", "Agreement", "measured", "read_agreement", "tau_b"]

_RESAMPLES, FEWEST = 1000, 6


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau between the figures of a cheap evaluator and of full training.

    Args:
        tau: tau-b (Kendall 1945); None where it is undefined.
        low, high: Bootstrap interval over candidates, at the confidence `level`.
        useful: What `low` must exceed.
        cheap, full: Figures of the candidates, larger is better.
        epochs: Median of the epochs that full training took to its best figure.
        granted: Whether nothing was measured because nothing was asked for.
    """

    tau: float | None
    low: float | None
    high: float | None
    level: float
    useful: float
    cheap: tuple[float, ...] = ()
    full: tuple[float, ...] = ()
    epochs: int = 0
    granted: bool = False

    @property
    def used(self) -> bool:
        """Return whether the cheap evaluator is used."""
        return self.granted or (self.low is not None and self.low > self.useful)

    def sentence(self, name: str) -> str:
        """Return what a person is told."""
        if self.granted:
            return f"{name}: its agreement with full training was not measured"
        verdict = "in use" if self.used else f"its lower end is not above {self.useful:g}, so every candidate is trained in full"
        if self.tau is None or self.low is None or self.high is None:
            told = f"its agreement with full training could not be measured on {len(self.full)} candidates"
            return f"{name}: {told}; every candidate is trained in full"
        interval = f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}] ({self.level:.0%} interval, {len(self.full)} candidates)"
        return f"{name}: Kendall's tau with full training is {interval}: {verdict}"

    def facts(self) -> dict[str, Any]:
        """Return what the details of a trial hold."""
        return {"tau": self.tau, "low": self.low, "high": self.high, "candidates": len(self.full), "used": self.used}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        names = [name for name in self.__dataclass_fields__ if name not in ("cheap", "full")]
        return {**{name: getattr(self, name) for name in names}, "cheap": list(self.cheap), "full": list(self.full)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Agreement:
        """Read what `to_json` wrote."""
        return cls(**{**value, "cheap": tuple(value["cheap"]), "full": tuple(value["full"])})


def tau_b(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Return Kendall's tau-b, NaN where one side has no two different values."""
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        return float("nan")
    return round(float(kendalltau(first, second).statistic), 12)


def measured(
    cheap: Sequence[float], full: Sequence[float], *, level: float, useful: float, seed: np.random.SeedSequence, epochs: int = 0
) -> Agreement:
    """Return the agreement of two lists of figures of the same candidates; fewer than six are too few to tell anything.

    The interval has the percentiles of 1,000 bootstrap samples of the candidates (Efron and Tibshirani 1993, section 13.3); pairs that
    a sample holds twice are ties, which tau-b leaves out of count.
    """
    one, other = np.asarray(cheap, dtype=np.float64), np.asarray(full, dtype=np.float64)
    tau = tau_b(one, other) if len(one) >= FEWEST else float("nan")
    told = {"level": level, "useful": useful, "cheap": tuple(one.tolist()), "full": tuple(other.tolist()), "epochs": epochs}
    if not np.isfinite(tau):
        return Agreement(None, None, None, **told)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    drawn = [tau_b(one[rows], other[rows]) for rows in rng.integers(0, len(one), (_RESAMPLES, len(one)))]
    low, high = np.nanquantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Agreement(tau, float(low), float(high), **told)  # type: ignore[arg-type]


@lru_cache(maxsize=4)
def read_agreement(path: Path) -> Agreement:
    """Read an agreement; its file has its digest in its name, and is never written twice."""
    return Agreement.from_json(json.loads(path.read_bytes()))
