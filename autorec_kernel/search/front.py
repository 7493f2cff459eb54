"""Order among trials with several objectives: non-dominated ranks, crowding, and the front (Deb et al. 2002, sections III-A and III-B)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import numpy as np

from autorec_kernel.records.trial import Trial

__all__ = ["best_of", "crowding", "dominance_ranks", "front_of", "knee_of", "order_best_first"]


def dominance_ranks(values: np.ndarray) -> np.ndarray:
    """Return int64 [n]: 0 for the non-dominated rows of float64 [n, m] (larger is better), 1 for those of the rest, and so on."""
    ranks = np.full(len(values), -1)
    at_least = (values[:, None] >= values[None]).all(2)
    better = at_least & (values[:, None] > values[None]).any(2)  # better[i, j]: i dominates j
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        free = left & ~(better & left[:, None]).any(0)
        ranks[free] = rank
        rank += 1
    return ranks


def crowding(values: np.ndarray) -> np.ndarray:
    """Return float64 [n], the crowding distance inside one rank: infinite at the ends, larger where neighbours are far."""
    count, width = values.shape
    distance = np.zeros(count)
    for column in range(width):
        order = np.argsort(values[:, column], kind="stable")
        line = values[order, column]
        spread = line[-1] - line[0]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and count > 2:
            distance[order[1:-1]] += (line[2:] - line[:-2]) / spread
    return distance


def best_of(trials: Iterable[Trial | None]) -> Trial | None:
    """Return the complete trial with the best metric, of equal ones the first, whichever arrived first; None without any."""
    complete = [trial for trial in trials if trial is not None and trial.status == "complete" and trial.objectives]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def order_best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have objectives, by non-dominated rank, then crowding, then number."""
    judged = [trial for trial in trials if trial.objectives]
    if not judged:
        return []
    values = np.array([trial.objectives for trial in judged], dtype=np.float64)
    ranks, spaces = dominance_ranks(values), np.zeros(len(judged))
    for rank in np.unique(ranks):
        spaces[ranks == rank] = crowding(values[ranks == rank])
    if values.shape[1] == 1:
        spaces[:] = 0.0
    keys = sorted(range(len(judged)), key=lambda i: (ranks[i], -spaces[i], judged[i].number))
    return [judged[i] for i in keys]


def front_of(trials: Sequence[Trial], merit: Callable[[Trial], float] = attrgetter("value")) -> tuple[Trial, ...]:
    """Return the complete trials that no other beats in metric, predicted latency and bytes at once, best metric first.

    Args:
        merit: The metric, larger is better; by default the first objective.
    """
    judged = [trial for trial in trials if trial.status == "complete" and trial.objectives]
    if not judged:
        return ()
    kept = [trial for trial, free in zip(judged, _undominated(_priced(judged, merit)), strict=True) if free]
    return tuple(sorted(kept, key=lambda trial: (-merit(trial), trial.number)))


def knee_of(front: Sequence[Trial], merit: Callable[[Trial], float] = attrgetter("value")) -> Trial | None:
    """Return the trial of a front that lies farthest beyond the plane through its best points, each objective scaled to [0, 1].

    That is the largest sum of scaled metric, latency and bytes (Das 1999, "On characterizing the knee of the Pareto curve"); among equals
    the first. None for an empty front.
    """
    if not front:
        return None
    values = _priced(front, merit)
    spread = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    return front[int(np.argmax(scaled.sum(axis=1)))]


def _priced(trials: Sequence[Trial], merit: Callable[[Trial], float]) -> np.ndarray:
    return np.array([(merit(trial), -trial.cost.latency_ms, -float(trial.cost.bytes)) for trial in trials])


def _undominated(values: np.ndarray) -> np.ndarray:
    """Return bool [n]: the rows of float64 [n, m] that no other dominates; one pass, since only a row before it in order can beat a row."""
    found = np.zeros(len(values), dtype=bool)
    front = np.empty_like(values)
    count = 0
    for row in np.lexsort(-values.T[::-1]):
        ahead = front[:count]
        if not ((ahead >= values[row]).all(1) & (ahead > values[row]).any(1)).any():
            front[count], found[row], count = values[row], True, count + 1
    return found
