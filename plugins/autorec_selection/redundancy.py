"""`Redundancy`: what a feature tells about the label, less what was told by the features taken before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.selector import Ranking
from autorec_selection.base import SAME, FromSample, Options, percent
from autorec_selection.contingency import entropy_of, one_hot
from autorec_selection.evidence import Alone, alone
from autorec_selection.sample import Sample, Target
from autorec_selection.views import View, views_of

__all__ = ["Redundancy"]

_COMPARED = 256  # features that are compared with each other: the most telling
_ROWS = 10_000  # rows that features are compared on


class Redundancy(FromSample):
    """Takes features one by one, each time the one with the highest score = relevance x (1 - highest overlap with a taken one).

    Relevance is the information beyond chance over the label's entropy, as `mutual-information` has it; overlap is the information that
    two features share over the smaller of their entropies. This is the idea of minimal redundancy and maximal relevance (Peng, Long and
    Ding, TPAMI 2005, equation 6) with a product in place of the difference, so that a telling copy still stands above noise, and with the
    highest overlap in place of the mean, so that one copy is enough. Worth keeping is what is worth keeping by its information and is
    not told again by more than `overlap`.
    """

    class Config(Options):
        """Options of `Redundancy`."""

        bins: int = Field(8, ge=2, le=64, description="Quantile bins of numbers.")
        overlap: float = Field(0.9, gt=0, le=1, description="Overlap from which a feature is a copy of another.")
        risk: float = Field(0.01, gt=0, lt=1, description="Chance that any feature is kept without information.")

    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        values = int(np.clip(sample.rows // 50, 16, 1024))
        found = [alone(sample, target, rng, bins=self.config.bins, values=values) for target in targets]
        best = {name: max((one[name] for one in found if name in one), key=lambda one: one.share, default=None) for name in names}
        order = sorted(names, key=lambda name: (-(best[name].share if best[name] else 0.0), name))  # type: ignore[union-attr]
        shared, compared = self._overlaps(sample, order[:_COMPARED], best, rng)
        taken = _taken([best[name].share if best[name] else 0.0 for name in compared], shared)  # type: ignore[union-attr]
        scores = {name: best[name].share if best[name] else 0.0 for name in names}  # type: ignore[union-attr]
        reasons, told = {name: SAME for name in names}, dict[str, float]()
        for place, score, overlap, other in taken:
            name = compared[place]
            scores[name], told[name] = score, overlap
            reasons[name] = _told(best[name], overlap, compared[other] if other >= 0 else "")
        for name in order[_COMPARED:]:
            scores[name] = min(scores[name], min(scores[one] for one in compared))
            reasons[name] = _told(best[name], 0.0, "")
        need = -math.log10(self.config.risk) + math.log10(len(names) * len(targets))
        sure = {name for one in found for name in one if one[name].evidence > need and told.get(name, 0.0) <= self.config.overlap}
        return Ranking(scores, reasons, tuple(sorted(sure, key=lambda name: (-scores[name], name))))

    def _overlaps(
        self, sample: Sample, names: Sequence[str], best: Mapping[str, Alone | None], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[str]]:
        """Return (float64 [V, V] of overlaps, the features that have one)."""
        some = sample if sample.rows <= _ROWS else sample.take(np.sort(rng.choice(sample.rows, _ROWS, replace=False)))
        views: list[View] = []
        for name in names:
            mine = [view for view in views_of(sample.schema[name], some, self.config.bins, 32) if best[name]]
            views += [view for view in mine if view.what == best[name].what][:1] or mine[:1]  # type: ignore[union-attr]
        return overlaps(views, some.rows), [view.feature for view in views]


def overlaps(views: Sequence[View], rows: int) -> np.ndarray:
    """Return float64 [V, V], the information that two readings share beyond chance, over the smaller of their entropies."""
    if not views:
        return np.zeros((0, 0))
    flags, starts = one_hot(views, np.arange(rows))
    counts = (flags.T @ flags).astype(np.float64)
    cells = np.add.reduceat(np.add.reduceat(_entry(counts), starts[:-1], axis=0), starts[:-1], axis=1)
    sides = np.array([entropy_of(view.codes, view.size) for view in views])
    used = np.array([len(np.unique(view.codes)) - 1 for view in views])
    joint = np.log(rows) - cells / rows
    shared = sides[:, None] + sides[None, :] - joint - np.outer(used, used) / (2.0 * rows)
    return np.asarray(np.clip(shared / np.maximum(np.minimum(sides[:, None], sides[None, :]), 1e-12), 0.0, 1.0))


def _taken(relevance: Sequence[float], shared: np.ndarray) -> list[tuple[int, float, float, int]]:
    """Return (place, score, highest overlap, with which; -1 = none) in the order of taking; scores never rise."""
    worth, most = np.array(relevance), np.zeros(len(relevance))
    whom, left, found = np.full(len(worth), -1), np.ones(len(worth), bool), []
    for _ in range(len(worth)):
        score = np.where(worth > 0, worth * (1.0 - most), worth)
        place = int(np.where(left, score, -np.inf).argmax())
        found.append((place, float(score[place]), float(most[place]), int(whom[place])))
        left[place] = False
        closer = shared[place] > most
        most, whom = np.where(closer, shared[place], most), np.where(closer, place, whom)
    return found


def _told(one: Alone | None, overlap: float, other: str) -> str:
    if one is None:
        return SAME
    again = f"; {percent(overlap)} of it is told by {other}" if other else "; nothing of it was told before"
    return f"tells {percent(one.share)} of the label by its {one.what} beyond chance{again}"


def _entry(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1.0)))
