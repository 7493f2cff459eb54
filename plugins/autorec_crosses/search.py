"""The search for crosses: all combinations that fit the budget are scored by counts, and the few that stand out are confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from autorec_crosses.contingency import Additive, Term, t_value, threshold

__all__ = ["Found", "Limits", "combined", "count_budget", "find_crosses", "seconds_of"]

_SECONDS_A_ROW = 2.5e-8  # of one combination: one product of codes and three weighted counts
_LEAST_ROWS = 20_000  # below it calls cost more than rows
_CELLS = 4  # cells a row that a table of counts may have
_CONFIRMED = 2.5  # standard errors by which a held-out gain exceeds that of every part

Parts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the search.

    Args:
        max_order: Columns of a cross, at most.
        limit: Crosses that are kept.
        min_count: Rows that a combination needs.
        seconds: Time for counting, by estimate: what is found depends on no stopwatch.
        beam: Combinations of each order that are confirmed, and that are extended where not all of the next order fit.
        alpha: Chance of a false cross among all of one order, before held-out rows are asked.
    """

    max_order: int
    limit: int
    min_count: int
    seconds: float
    beam: int
    alpha: float


@dataclass(frozen=True, slots=True)
class Found:
    """A cross: its columns, and what it adds to the log-likelihood of a held-out row beside the main effects and the crosses before it."""

    parts: Parts
    gain: float


def seconds_of(rows: int, count: int) -> float:
    """Estimate the seconds that counting `count` combinations takes."""
    return count * _SECONDS_A_ROW * max(rows, _LEAST_ROWS)


def count_budget(rows: int, seconds: float) -> int:
    """Return how many combinations can be counted in the time."""
    return max(int(seconds / seconds_of(rows, 1)), 1)


def combined(columns: Sequence[Term], parts: Parts) -> Term:
    """Return the rows by their combination of codes, 0 where any part is unknown."""
    term = columns[parts[0]]
    for part in parts[1:]:
        term = term.crossed(columns[part])
    return term


def find_crosses(
    columns: Sequence[Term],
    others: Sequence[Term],
    label: np.ndarray,
    binary: bool,
    limits: Limits,
    rng: np.random.Generator,
    owners: np.ndarray | None = None,
) -> list[Found]:
    """Return the crosses that add to the main effects, to their parts and to each other, the largest gain first.

    Args:
        columns: Columns to cross; code 0 = unknown.
        others: Further terms of the main effects: the users and the items.
        label: float64 [n].
        binary: Whether labels are 0 and 1.
        rng: Cuts the rows into halves.
        owners: int64 [n], whose row it is; rows of one user lie in one half and count as one. None = every row is on its own. Columns
            that together tell who a user is tell nothing of other users.
    """
    owners = np.arange(len(label)) if owners is None else np.unique(owners, return_inverse=True)[1]
    half = (rng.random(int(owners.max(initial=0)) + 1) < 0.5)[owners]
    search = _Search(columns, others, label, binary, limits, half, owners)
    base = search.model.margin.copy()
    for order in range(2, min(limits.max_order, len(columns)) + 1):
        search.extend(order)
    return search.settle(base)


class _Search:
    def __init__(
        self,
        columns: Sequence[Term],
        others: Sequence[Term],
        label: np.ndarray,
        binary: bool,
        limits: Limits,
        half: np.ndarray,
        owners: np.ndarray,
    ) -> None:
        self.columns, self.limits, self.half, self.owners = columns, limits, half, owners
        self.model = Additive(label, binary)
        self.taken = self.model.fit([*columns, *others], len(columns))[: len(columns)]
        self.best: list[Parts] = []
        self.accepted: list[Parts] = []
        self.tests = 0

    def extend(self, order: int) -> None:
        """Score the combinations of one order and accept the ones that hold on held-out rows, the most surprising first."""
        scores = {parts: score for parts, term in self._candidates(order) for score in [self._score(parts, term)]}
        self.tests += len(scores)
        self.best = sorted(scores, key=lambda parts: (-scores[parts], parts))[: self.limits.beam]
        bar = threshold(self.limits.alpha, self.tests)
        waiting = {parts: scores[parts] for parts in self.best if scores[parts] > bar}
        accepted = 0
        while waiting and accepted < self.limits.limit:
            parts = max(waiting, key=lambda one: (waiting[one], one))
            del waiting[parts]
            if not self._confirmed(parts):
                continue
            self.model.absorb(combined(self.columns, parts))
            self.accepted.append(parts)
            accepted += 1
            again = {one: self._score(one, combined(self.columns, one)) for one in waiting}
            waiting = {one: score for one, score in again.items() if score > bar}

    def settle(self, base: np.ndarray) -> list[Found]:
        """Take the accepted crosses again, the strongest first, so that none stays whose work another one does."""
        self.model.reset(base)
        alone = {parts: self._gains(parts).mean() for parts in self.accepted}
        found = []
        for parts in sorted(alone, key=lambda one: (-alone[one], one)):
            gains = self._gains(parts)
            if self._t(gains) < _CONFIRMED:
                continue
            found.append(Found(parts, float(gains.mean())))
            self.model.absorb(combined(self.columns, parts))
        return sorted(found, key=lambda one: (-one.gain, one.parts))[: self.limits.limit]

    def _candidates(self, order: int) -> Iterator[tuple[Parts, Term]]:
        """Yield (parts, term): all of the order, or those of the smallest columns and the extensions of the best of the order before."""
        budget, count = count_budget(len(self.half), self.limits.seconds), len(self.columns)
        whole = comb(count, order) <= budget
        width = count if whole else max(m for m in range(order - 1, count) if comb(m, order) <= budget // 2)
        by_size = sorted(range(count), key=lambda number: (self.columns[number].size, number))
        seen: set[Parts] = set()
        for head, group in _grouped(sorted(tuple(sorted(parts)) for parts in combinations(by_size[:width], order))):
            yield from self._extended(head, group, seen)
        if whole:
            return
        for head in self.best:
            room = budget - len(seen)
            yield from self._extended(head, [part for part in by_size if part not in head][: max(room, 0)], seen)

    def _extended(self, head: Parts, more: Sequence[int], seen: set[Parts]) -> Iterator[tuple[Parts, Term]]:
        first: Term | None = None
        for part in more:
            parts = tuple(sorted((*head, part)))
            if parts in seen or np.prod([float(self.columns[one].size) for one in parts]) > _CELLS * max(len(self.half), _LEAST_ROWS):
                continue
            seen.add(parts)
            first = combined(self.columns, head) if first is None else first
            yield parts, first.crossed(self.columns[part])

    def _score(self, parts: Parts, term: Term) -> float:
        return self.model.score(term, [self.taken[part] for part in parts], self.limits.min_count)

    def _confirmed(self, parts: Parts) -> bool:
        gains = self._gains(parts)
        subsets = combinations(parts, len(parts) - 1)
        return self._t(gains) >= _CONFIRMED and all(self._t(gains - self._gains(some)) >= _CONFIRMED for some in subsets)

    def _t(self, gains: np.ndarray) -> float:
        return t_value(np.bincount(self.owners, gains))

    def _gains(self, parts: Parts) -> np.ndarray:
        return self.model.gains(combined(self.columns, parts), self.half, self.limits.min_count)


def _grouped(ordered: Sequence[Parts]) -> Iterator[tuple[Parts, list[int]]]:
    groups: dict[Parts, list[int]] = {}
    for parts in ordered:
        groups.setdefault(parts[:-1], []).append(parts[-1])
    yield from groups.items()
