"""`DriftProfile`: how served features are distributed over the training rows, and how far new rows are from that (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.features import Feature

__all__ = ["Bins", "DriftProfile", "chance", "stability"]

VERSION = 1
_QUANTILES, _FREQUENT, _COMPONENTS = 10, 15, 16


@dataclass(frozen=True, slots=True)
class Bins:
    """A histogram of training values.

    Args:
        marks: Numbers: ascending edges, so that the bins are below the smallest training value, up to each decile, and above the largest
            one. Ids: the most frequent rows, so that the bins are unknown (row 0), each of them, and all others.
        counts: float64 [bins], training rows in each; an entry of a list counts for an equal part of its row.
        ids: Whether the values are ids.
    """

    marks: np.ndarray
    counts: np.ndarray
    ids: bool

    @classmethod
    def of(cls, values: np.ndarray, *, ids: bool) -> Bins:
        """Return the histogram of float32 [n], or of id rows int64 [n] or [n, L] padded with 0, with at least one row."""
        if ids:
            rows, counts = np.unique(values[values != 0], return_counts=True)
            marks = np.sort(rows[np.lexsort((rows, -counts))[:_FREQUENT]])
        else:
            deciles = np.quantile(values, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf").astype(np.float32)
            marks = np.unique([np.nextafter(deciles[0], np.float32(-np.inf)), *deciles[1:]])
        blank = cls(marks, np.zeros(len(marks) + (2 if ids else 1)), ids)
        return cls(marks, blank.counted(values), ids)

    def counted(self, values: np.ndarray) -> np.ndarray:
        """Return float64 [bins], the rows of `values` in each bin."""
        weights = np.ones(len(values))
        if values.ndim == 2:  # entries side by side; a row without any counts as unknown
            real = values != 0
            real[:, :1] |= ~real.any(axis=1, keepdims=True)
            weights, values = np.repeat(1.0 / np.maximum(real.sum(axis=1), 1), real.sum(axis=1)), values[real]
        place = np.searchsorted(self.marks, values)
        if self.ids:
            listed = np.append(self.marks, 0)[place] == values
            place = np.where(values == 0, 0, np.where(listed, place + 1, len(self.marks) + 1))
        return np.bincount(place, weights, minlength=len(self.counts))

    def unseen(self, counts: np.ndarray) -> float:
        """Return the share of rows whose value is unknown, or outside the range of training."""
        return float((counts[0] if self.ids else counts[0] + counts[-1]) / max(counts.sum(), 1e-9))

    def told(self, place: int) -> str:
        """Return what a bin holds, for people."""
        last = len(self.counts) - 1
        if self.ids:
            rank = int((self.counts[1:last] > self.counts[place]).sum()) + 1
            return "unknown" if place == 0 else "all other values" if place == last else f"frequent value no. {rank}"
        edges = [f"{round(float(mark), 9) + 0.0:.4g}" for mark in self.marks]
        if place in (0, last):
            return f"below {edges[0]}" if place == 0 else f"above {edges[-1]}"
        return f"{edges[place - 1]} to {edges[place]}"


@dataclass(frozen=True, slots=True)
class DriftProfile:
    """The histograms of features over training rows.

    Args:
        rows: How many rows they were taken from.
        features: Feature name → one histogram, or one a component of a numeric feature (at most 16, evenly spaced).
    """

    rows: int
    features: Mapping[str, tuple[Bins, ...]]

    @classmethod
    def of(cls, values: Mapping[str, np.ndarray], features: Iterable[Feature]) -> DriftProfile:
        """Return the profile of model inputs, at least one row each."""
        found = {f.name: tuple(Bins.of(part, ids=f.kind != "numeric") for part in _parts(values[f.name])) for f in features}
        return cls(len(next(iter(values.values()))), found)

    def counted(self, values: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Return feature name → the counts of new rows in the bins of each histogram; counts of several blocks can be added."""
        return {
            name: [one.counted(part) for one, part in zip(bins, _parts(values[name]), strict=True)] for name, bins in self.features.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        features = {name: [_told(one) for one in bins] for name, bins in self.features.items()}
        return {"version": VERSION, "rows": self.rows, "features": features}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> DriftProfile:
        """Read what `to_json` returned.

        Raises:
            BundleError: It was written by a newer version.
        """
        if value.get("version") != VERSION:
            raise BundleError(f"the drift profile has version {value.get('version')!r}; this release reads {VERSION}")
        return cls(int(value["rows"]), {name: tuple(map(_read, bins)) for name, bins in value["features"].items()})


def stability(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of counts float64 [bins]: sum (p - q) ln(p / q) over the bins.

    It is the divergence of Jeffreys (1946), used as an index of drift since Lewis (1994) and Siddiqi (2006). Half a row is added to every
    bin that is not empty in both (the prior of Jeffreys), so that an empty bin counts, and does not count as infinity.
    """
    used = (before + now) > 0
    p, q = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (before, now))
    return float(((p - q) * np.log(p / q)).sum())


def chance(before: np.ndarray, now: np.ndarray) -> float:
    """Return what the index stays below in 95 of 100 cases where nothing but chance is at work.

    It is (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom (Yurdakul 2018), its quantile by Wilson and Hilferty (1931). Rows
    count as independent, which the rows of one user are not: the true limit is higher.
    """
    free = int(((before + now) > 0).sum()) - 1
    if free < 1:
        return 0.0
    quantile = free * (1 - 2 / (9 * free) + 1.6449 * (2 / (9 * free)) ** 0.5) ** 3
    return float(quantile * (1 / max(before.sum(), 1) + 1 / max(now.sum(), 1)))


def _parts(value: np.ndarray) -> list[np.ndarray]:
    """Return ids as they are, and the components of a number."""
    if value.dtype.kind != "f":
        return [value]
    kept = np.unique(np.linspace(0, value.shape[1] - 1, min(value.shape[1], _COMPONENTS)).astype(np.int64))
    return [value[:, place] for place in kept]


def _told(bins: Bins) -> dict[str, Any]:
    marks = bins.marks.tolist() if bins.ids else [float(str(mark)) for mark in bins.marks]  # the shortest text of a float32
    return {"ids": bins.ids, "marks": marks, "counts": [int(c) if c == int(c) else round(float(c), 3) for c in bins.counts]}


def _read(value: Mapping[str, Any]) -> Bins:
    ids = bool(value["ids"])
    marks, counts = np.asarray(value["marks"], np.int64 if ids else np.float32), np.asarray(value["counts"], np.float64)
    whole = marks.ndim == 1 and counts.shape == (len(marks) + (2 if ids else 1),) and np.isfinite([*marks, *counts]).all()
    if not whole or (np.diff(marks) <= 0).any() or counts.min() < 0:
        raise ValueError("a histogram does not have the bins that its marks say")
    return Bins(marks, counts, ids)
