"""`DriftProfile`: how served features are distributed over rows before the test part, and how far new rows are from that (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.features import Feature

__all__ = ["Bins", "DriftProfile", "chance", "stability", "together"]

VERSION = 2
_QUANTILES, _FREQUENT, _COMPONENTS = 10, 15, 16
_FEWEST = 20.0  # independent rows that any more count as
_SAMPLE = 8192  # rows that tell how alike those of one user are


@dataclass(frozen=True, slots=True)
class Bins:
    """A histogram of training values.

    Args:
        marks: Numbers: ascending edges, so that the bins are below the smallest training value, up to each decile, and above the largest
            one. Ids: the most frequent rows, so that the bins are unknown (row 0), each of them, and all others.
        counts: float64 [bins], reference rows in each; an entry of a list counts for an equal part of its row.
        ids: Whether the values are ids.
        hashed: The first row that texts without a row of their own are hashed into; they count as unknown. 0 = none are hashed.
        alike: How alike the rows of one user are: their correlation of being in the same bin, from 0 to 1.
    """

    marks: np.ndarray
    counts: np.ndarray
    ids: bool
    hashed: int = 0
    alike: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray, *, ids: bool, ends: tuple[float, float] | None = None, hashed: int = 0) -> Bins:
        """Return the histogram of float32 [n], or of id rows int64 [n] or [n, L] padded with 0, with at least one row.

        Args:
            ends: Smallest and largest value of training, where these are other rows.
        """
        if ids:
            rows, counts = np.unique(values[(values != 0) & ((values < hashed) | (not hashed))], return_counts=True)
            marks = np.sort(rows[np.lexsort((rows, -counts))[:_FREQUENT]])
        else:
            deciles = np.quantile(values, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf").astype(np.float32)
            low, high = np.float32(deciles[0] if ends is None else min(deciles[0], ends[0])), [] if ends is None else [np.float32(ends[1])]
            marks = np.unique([np.nextafter(low, np.float32(-np.inf)), *deciles[1:], *(one for one in high if one > deciles[-1])])
        blank = cls(marks, np.zeros(len(marks) + (2 if ids else 1)), ids, hashed)
        return replace(blank, counts=blank.counted(values))

    def counted(self, values: np.ndarray) -> np.ndarray:
        """Return float64 [bins], the rows of `values` in each bin."""
        _, place, weights = self._placed(values)
        return np.bincount(place, weights, minlength=len(self.counts))

    def likeness(self, values: np.ndarray, users: np.ndarray) -> float:
        """Return `alike` of values of users int64 [n], from the variance of the bins' shares between users (Kish 1965, design effect)."""
        rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), _SAMPLE)).astype(np.int64))
        row, place, weights = self._placed(values[rows])
        users, bins = np.unique(users[rows], return_inverse=True)[1], len(self.counts)
        table = np.bincount(users[row] * bins + place, weights, minlength=bins * (int(users.max()) + 1)).reshape(-1, bins)
        size, share = table.sum(axis=1), table.sum(axis=0) / table.sum()
        chance, most = (share * (1 - share)).sum() * size.sum(), (size**2).sum() / size.sum() - 1
        effect = ((table - share * size[:, None]) ** 2).sum() / max(chance, 1e-9)
        return float(np.clip((effect - 1) / max(most, 1e-9), 0.0, 1.0)) if chance > 0 and most > 0 else 0.0

    def independent(self, rows: float, together: float) -> float:
        """Return as how many independent rows some rows count of which each stands with `together` rows of its user.

        No fewer than 20 of them: where one id stands for everybody, that is no chance.
        """
        return max(rows / (1 + max(together - 1, 0.0) * self.alike), min(rows, _FEWEST))

    def _placed(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, bin and weight of every entry."""
        row, weights = np.arange(len(values)), np.ones(len(values))
        if values.ndim == 2:  # entries side by side; a row without any counts as unknown
            real = values != 0
            real[:, :1] |= ~real.any(axis=1, keepdims=True)
            row, weights, values = np.repeat(row, real.sum(axis=1)), np.repeat(1.0 / real.sum(axis=1), real.sum(axis=1)), values[real]
        if self.ids and self.hashed:
            values = np.where(values < self.hashed, values, 0)
        place = np.searchsorted(self.marks, values)
        if self.ids:
            listed = np.append(self.marks, 0)[place] == values
            place = np.where(values == 0, 0, np.where(listed, place + 1, len(self.marks) + 1))
        return row, place, weights

    def unseen(self, counts: np.ndarray) -> float:
        """Return the share of rows whose value is unknown, or outside the range of training."""
        return float((counts[0] if self.ids else counts[0] + counts[-1]) / max(counts.sum(), 1e-9))

    def told(self, place: int) -> str:
        """Return what a bin holds, for people."""
        last = len(self.counts) - 1
        if self.ids:
            rank = int((self.counts[1:last] > self.counts[place]).sum()) + 1
            return (
                ("unknown, or hashed" if self.hashed else "unknown")
                if place == 0
                else "all other values"
                if place == last
                else f"frequent value no. {rank}"
            )
        edges = [f"{round(float(mark), 9) + 0.0:.4g}" for mark in self.marks]
        if place in (0, last):
            return f"below {edges[0]}" if place == 0 else f"above {edges[-1]}"
        return f"{edges[place - 1]} to {edges[place]}"


@dataclass(frozen=True, slots=True)
class DriftProfile:
    """The histograms of features over reference rows.

    Args:
        rows: How many rows they were taken from.
        features: Feature name → one histogram, or one a component of a numeric feature (at most 16, evenly spaced).
        held_out: Whether the state that they were read from does not know the rows, as it does not know later ones.
        together: With how many rows of its user a row stands there, in the mean.
    """

    rows: int
    features: Mapping[str, tuple[Bins, ...]]
    held_out: bool = False
    together: float = 1.0

    @classmethod
    def of(
        cls,
        values: Mapping[str, np.ndarray],
        features: Iterable[Feature],
        *,
        ranges: Mapping[str, np.ndarray] | None = None,
        hashed: Mapping[str, int] | None = None,
        held_out: bool = False,
        users: Sequence[str | None] | None = None,
    ) -> DriftProfile:
        """Return the profile of model inputs, at least one row each.

        Args:
            ranges: The same inputs of training rows, which say what the range of a number is; None = `values` are training rows.
            hashed: Id feature → the first of its rows that texts without a row of their own are hashed into.
            users: Whose rows they are.
        """
        found = dict[str, tuple[Bins, ...]]()
        for one in features:
            parts, more = _parts(values[one.name]), _parts((values if ranges is None else ranges)[one.name])
            if one.kind == "numeric":
                found[one.name] = tuple(Bins.of(p, ids=False, ends=(q.min(), q.max())) for p, q in zip(parts, more, strict=True))
            else:
                found[one.name] = (Bins.of(parts[0], ids=True, hashed=(hashed or {}).get(one.name, 0)),)
        rows = len(next(iter(values.values())))
        codes = np.arange(rows) if users is None else np.unique([str(user) for user in users], return_inverse=True)[1]
        alike = {
            name: tuple(replace(one, alike=one.likeness(p, codes)) for one, p in zip(bins, _parts(values[name]), strict=True))
            for name, bins in found.items()
        }
        return cls(rows, alike, held_out, together(users, rows))

    def counted(self, values: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Return feature name → the counts of new rows in the bins of each histogram; counts of several blocks can be added."""
        return {
            name: [one.counted(part) for one, part in zip(bins, _parts(values[name]), strict=True)] for name, bins in self.features.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        features = {name: [_told(one) for one in bins] for name, bins in self.features.items()}
        return {"version": VERSION, "rows": self.rows, "held_out": self.held_out, "together": round(self.together, 3), "features": features}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> DriftProfile:
        """Read what `to_json` returned.

        Raises:
            BundleError: It was written by a newer version.
        """
        if value.get("version") not in (1, VERSION):
            raise BundleError(f"the drift profile has version {value.get('version')!r}; this release reads 1 and {VERSION}")
        found = {name: tuple(map(_read, bins)) for name, bins in value["features"].items()}
        return cls(int(value["rows"]), found, bool(value.get("held_out", False)), float(value.get("together", 1)))


def stability(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of counts float64 [bins]: sum (p - q) ln(p / q) over the bins.

    It is the divergence of Jeffreys (1946), used as an index of drift since Lewis (1994) and Siddiqi (2006). Half a row is added to every
    bin that is not empty in both (the prior of Jeffreys), so that an empty bin counts, and does not count as infinity.
    """
    used = (before + now) > 0
    p, q = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (before, now))
    return float(((p - q) * np.log(p / q)).sum())


def together(users: Sequence[str | None] | None, rows: int) -> float:
    """Return with how many rows of its user a row stands in a table, itself included, in the mean; a row without a user stands alone."""
    _, counts = np.unique([user for user in users or () if user is not None], return_counts=True)
    return float(((counts.astype(np.float64) ** 2).sum() + rows - counts.sum()) / max(rows, 1))


def chance(before: np.ndarray, now: np.ndarray, sizes: Sequence[float] | None = None) -> float:
    """Return what the index stays below in 95 of 100 cases where nothing but chance is at work.

    It is (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom (Yurdakul 2018), its quantile by Wilson and Hilferty (1931).

    Args:
        sizes: n and m, as how many independent rows they count; None = the sums of the counts.
    """
    free = int(((before + now) > 0).sum()) - 1
    if free < 1:
        return 0.0
    quantile = free * (1 - 2 / (9 * free) + 1.6449 * (2 / (9 * free)) ** 0.5) ** 3
    one, other = sizes or (float(before.sum()), float(now.sum()))
    return float(quantile * (1 / max(one, 1) + 1 / max(other, 1)))


def _parts(value: np.ndarray) -> list[np.ndarray]:
    """Return ids as they are, and the components of a number."""
    if value.dtype.kind != "f":
        return [value]
    kept = np.unique(np.linspace(0, value.shape[1] - 1, min(value.shape[1], _COMPONENTS)).astype(np.int64))
    return [value[:, place] for place in kept]


def _told(bins: Bins) -> dict[str, Any]:
    marks = bins.marks.tolist() if bins.ids else [float(str(mark)) for mark in bins.marks]  # the shortest text of a float32
    counts = [int(c) if c == int(c) else round(float(c), 3) for c in bins.counts]
    more = {"hashed": bins.hashed, "alike": round(bins.alike, 4)}
    return {"ids": bins.ids, "marks": marks, "counts": counts, **{name: value for name, value in more.items() if value}}


def _read(value: Mapping[str, Any]) -> Bins:
    ids = bool(value["ids"])
    marks, counts = np.asarray(value["marks"], np.int64 if ids else np.float32), np.asarray(value["counts"], np.float64)
    whole = marks.ndim == 1 and counts.shape == (len(marks) + (2 if ids else 1),) and np.isfinite([*marks, *counts]).all()
    if not whole or (np.diff(marks) <= 0).any() or counts.min() < 0:
        raise ValueError("a histogram does not have the bins that its marks say")
    return Bins(marks, counts, ids, int(value.get("hashed", 0)), float(value.get("alike", 0)))
