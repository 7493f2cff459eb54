"""What was known before a row, for features written by hand: sums over events strictly before a clock, or over other folds of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Log", "Sees", "Sums", "past", "smooth"]

FOLDS = 10
Sees = Literal["all", "known", "training"]


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Rows of every part, oldest first.

    Args:
        user, item: int64 [n] codes.
        label: float64 [n], 0 or 1.
        clock: int64 [n], > 0: seconds, or the place in the user's history; 0 = unknown, such a row is seen by nobody.
        train: bool [n].
        shared: Whether one clock orders the rows of different users.
        sees: Which rows later ones see: all; known = those of users that training knows; training.
    """

    user: np.ndarray
    item: np.ndarray
    label: np.ndarray
    clock: np.ndarray
    train: np.ndarray
    shared: bool
    sees: Sees = "all"

    @property
    def events(self) -> np.ndarray:
        """Return bool [n]: rows that later ones see."""
        known = self.train if self.sees == "training" else np.isin(self.user, self.user[self.train])
        return (self.clock > 0) & (known | (self.sees == "all"))

    @property
    def fold(self) -> np.ndarray:
        """Return int64 [n], a fold of users."""
        return (self.user * 2654435761 % (1 << 32)) % FOLDS


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums over what is known: `count` float64 [q], `total` float64 [q] a value, and the clocks of the first and last event, NaN = none."""

    count: np.ndarray
    total: tuple[np.ndarray, ...]
    first: np.ndarray
    last: np.ndarray

    def mean(self, place: int = 0) -> np.ndarray:
        """Return float64 [q], NaN where nothing is known."""
        return np.divide(self.total[place], self.count, out=np.full(len(self.count), np.nan), where=self.count > 0)


def past(
    log: Log,
    key: np.ndarray,
    *values: np.ndarray,
    own: bool = False,
    rows: np.ndarray | None = None,
    window: int | None = None,
    latest: int | None = None,
) -> Sums:
    """Sum the values of events with the same key that are known at each row.

    Where the key is the row's own user's, or one clock orders all users: the events with a smaller clock. Else the training rows:
    those of other folds of users for a training row, all of them for another one.

    Args:
        key: int64 [q], >= 0.
        values: float64 [q] each; the label of the rows when none is given.
        own: Whether the key holds the user.
        rows: int64 [q], the row of each entry where rows have several (genres); None = one entry a row.
        window: Only events at most that many clock units ago.
        latest: Only that many last events.
    """
    place = np.arange(len(log.user)) if rows is None else rows
    given = values or (log.label[place],)
    if own or log.shared:
        return _before(key, log.clock[place], log.events[place], given, window, latest)
    if window is not None or latest is not None:
        raise ValueError("windows need a clock that orders the rows of different users")
    return _other_folds(key, log.fold[place], log.train[place], given)


def smooth(found: Sums, prior: np.ndarray | float, strength: float = 5.0, place: int = 0) -> np.ndarray:
    """Return float64 [q], the mean with `strength` further events at the prior."""
    return np.asarray((found.total[place] + strength * prior) / (found.count + strength))


def _before(
    key: np.ndarray, clock: np.ndarray, event: np.ndarray, values: tuple[np.ndarray, ...], window: int | None, latest: int | None
) -> Sums:
    span = int(clock.max(initial=0)) + 2
    chosen = np.flatnonzero(event)
    places = key[chosen] * span + clock[chosen]
    order = np.argsort(places, kind="stable")
    places, chosen = places[order], chosen[order]
    end = np.searchsorted(places, key * span + clock, side="left")  # equal clocks stay outside
    start = np.searchsorted(places, key * span + (0 if window is None else np.maximum(clock - window, 0)), side="left")
    if latest is not None:
        start = np.maximum(start, end - latest)
    sums = [np.append(0.0, np.cumsum(value[chosen])) for value in values]
    clocks = np.append(clock[chosen], 0).astype(np.float64)
    some = end > start
    first, last = (np.where(some, clocks[np.minimum(at, len(clocks) - 1)], np.nan) for at in (start, end - 1))
    return Sums((end - start).astype(np.float64), tuple(total[end] - total[start] for total in sums), first, last)


def _other_folds(key: np.ndarray, fold: np.ndarray, train: np.ndarray, values: tuple[np.ndarray, ...]) -> Sums:
    keys = np.unique(key, return_inverse=True)[1].reshape(-1)
    size, pair = int(keys.max(initial=0)) + 1, keys * FOLDS + fold
    found = []
    for value in (np.ones(len(key)), *values):
        weight = np.where(train, value, 0.0)
        inside, whole = np.bincount(pair, weight, size * FOLDS), np.bincount(keys, weight, size)
        others = (whole[keys] - inside[pair]) * FOLDS / (FOLDS - 1)  # sums of nine folds, on the scale of ten
        found.append(np.where(train, others, whole[keys]))
    unknown = np.full(len(key), np.nan)
    return Sums(found[0], tuple(found[1:]), unknown, unknown)
