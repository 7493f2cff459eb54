"""AUC prepared for resampling: the rows are sorted once, every resample is one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AucSample"]


@dataclass(frozen=True, slots=True)
class AucSample:
    """Rows in order of score, with groups of equal scores.

    Args:
        order: int64 [rows], rows by ascending score (NaN first).
        starts: int64 [groups], where each group of equal scores begins in that order.
        positive: int64 [rows] in that order, 0 or 1.
    """

    order: np.ndarray
    starts: np.ndarray
    positive: np.ndarray

    @classmethod
    def prepare(cls, positive: np.ndarray, scores: np.ndarray) -> AucSample:
        """Sort rows (labels int64 0 or 1, scores float) once."""
        given = np.asarray(scores)
        lost = np.isnan(given)
        filled = np.where(lost, 0.0, given)
        order = np.lexsort((filled, ~lost))
        filled, lost = filled[order], lost[order]
        new = np.append(True, (filled[1:] != filled[:-1]) | (lost[1:] != lost[:-1]))
        return cls(order, np.flatnonzero(new), positive[order])

    @property
    def value(self) -> float:
        """Return the AUC of the rows as they are; NaN for one class."""
        return self.resampled(np.ones(len(self.order), dtype=np.int64))

    def resampled(self, weights: np.ndarray) -> float:
        """Return the AUC when row i is there `weights[i]` times (int64 [rows]); NaN for one class."""
        ordered = weights[self.order]
        hits = ordered * self.positive
        hit = np.add.reduceat(hits, self.starts)
        missed = np.add.reduceat(ordered - hits, self.starts)
        good, bad = int(hit.sum()), int(missed.sum())
        if not good or not bad:
            return float("nan")
        return float((hit * (2 * np.cumsum(missed) - missed)).sum() / (2 * good * bad))

    def influence(self) -> np.ndarray:
        """Return float64 [rows], how far each row moves the AUC (the components of DeLong et al. 1988, centred, over class sizes)."""
        hit = np.add.reduceat(self.positive, self.starts)
        missed = np.add.reduceat(1 - self.positive, self.starts)
        good, bad = hit.sum(), missed.sum()
        sizes = np.diff(np.append(self.starts, len(self.order)))
        won = np.repeat((np.cumsum(missed) - missed / 2) / bad, sizes)  # of a positive row: share of negatives below it
        lost = np.repeat((good - np.cumsum(hit) + hit / 2) / good, sizes)  # of a negative row: share of positives above it
        moved = np.where(self.positive, (won - self.value) / good, (lost - self.value) / bad)
        placed = np.empty(len(moved))
        placed[self.order] = moved
        return placed
