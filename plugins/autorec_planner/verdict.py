"""One rule for what a compressed model may lose: the paired comparison with the uncompressed one, on the same users or rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autorec_kernel.contracts import Target
from autorec_kernel.deploy.quality import Quality, gain

__all__ = ["Verdict", "judged"]

Word = Literal["accepted", "refused", "not enough data"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a loss, as shares of the metric of the uncompressed model.

    Args:
        gain: Compressed minus uncompressed, positive = better; NaN where it cannot be told.
        low, high: Its 95 % interval of paired bootstrap samples.
    """

    word: Word
    metric: str
    gain: float
    low: float
    high: float
    n: int

    @property
    def accepted(self) -> bool:
        """Return whether the model may be served."""
        return self.word == "accepted"

    def told(self) -> str:
        """Return the figures in words."""
        return f"{self.metric} {self.gain:+.2%} [{self.low:+.2%}, {self.high:+.2%}], n = {self.n}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null where nothing can be told."""
        figures = {name: _finite(getattr(self, name)) for name in ("gain", "low", "high")}
        return {"verdict": self.word, "metric": self.metric, **figures, "n": self.n}


def judged(after: Quality, before: Quality, target: Target, seed: int) -> Verdict:
    """Compare a compressed model with the uncompressed one.

    Refused is a loss above `max_drop`, or an interval that lies beyond it; accepted, one below whose interval leaves no loss open that is
    larger than `max_doubt`. Between them the rows are too few to tell.
    """
    found = gain(after, before, np.random.default_rng(seed))
    scale = max(abs(before.value), 1e-12)
    if found is None or not np.isfinite(found.difference):
        return Verdict("not enough data", after.metric, np.nan, np.nan, np.nan, 0)
    difference, low, high = (float(value) / scale for value in (found.difference, found.low, found.high))
    word: Word = "accepted"
    if difference < -target.max_drop:
        word = "refused"
    elif not low >= -max(target.max_doubt, target.max_drop):
        word = "not enough data"
    return Verdict(word, after.metric, difference, low, high, int(found.n))


def _finite(value: float) -> float | None:
    return round(value, 8) if np.isfinite(value) else None
