"""`EvaluationSet`: what a ranking protocol judges, one entry a user with something to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.lists import offsets_of, owners, take_lists

__all__ = ["EvaluationSet", "Events", "collect", "repeats"]

_REPEATING = 0.01  # share of training events that repeat a (user, item) pair above which repeats are legitimate answers


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """Users of one split, ordered by id text.

    Args:
        users: int64 [U] user keys: rows, keys of strangers that a side table names, 0 for others whom training does not know.
        ids: Their id texts.
        history_offsets, history_items: Positive item rows before the split (and the split's own context events), oldest first.
        positive_offsets, positive_items: Distinct items to find; 0 = outside the catalogue, which nothing can find.
        event_rows: int64 [positives], the feature set's row number of each positive.
        seen_offsets, seen_items: Item rows to exclude, sorted. No positive is among them: where repeats count as answers nothing is
            excluded, elsewhere a positive that was seen before is not judged.
    """

    users: np.ndarray
    ids: tuple[str, ...]
    history_offsets: np.ndarray
    history_items: np.ndarray
    positive_offsets: np.ndarray
    positive_items: np.ndarray
    event_rows: np.ndarray
    seen_offsets: np.ndarray
    seen_items: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def histories(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (offsets, items), the form that `FeatureSet.pair_inputs` takes."""
        return self.history_offsets, self.history_items

    @property
    def positives(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (offsets, items)."""
        return self.positive_offsets, self.positive_items

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (offsets, items)."""
        return self.seen_offsets, self.seen_items

    def take(self, index: np.ndarray) -> EvaluationSet:
        """Return the users at positions int64 [n], in that order."""
        history = _take(self.history_offsets, index, self.history_items)
        positive = _take(self.positive_offsets, index, self.positive_items, self.event_rows)
        seen = _take(self.seen_offsets, index, self.seen_items)
        ids = tuple(self.ids[i] for i in index)
        return EvaluationSet(self.users[index], ids, *history, *positive, *seen)

    def sample(self, count: int, rng: np.random.Generator) -> EvaluationSet:
        """Return at most `count` users drawn without replacement, in the same order."""
        if count >= len(self):
            return self
        return self.take(np.sort(rng.choice(len(self), count, replace=False)))


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Columns of events, int64 [n] each, in order of time: extended keys, item rows and flags."""

    user: np.ndarray
    item: np.ndarray
    item_row: np.ndarray
    positive: np.ndarray
    target: np.ndarray


def repeats(user: np.ndarray, item: np.ndarray) -> bool:
    """Whether (user, item) pairs repeat often enough in training that a repeat is a legitimate answer."""
    return len(_ascending(_pairs(user, item, _width(item)))) < (1.0 - _REPEATING) * len(user)


def collect(before: Events, split: Events, first_row: int, *, exclude: bool, ids: Callable[[np.ndarray], list[str]]) -> EvaluationSet:
    """Put an evaluation set together; `users` still holds keys.

    Args:
        before: Events that count as history: training, and what precedes the split.
        split: Events of the split.
        first_row: Row number of the first event of the split.
        exclude: Whether seen items are excluded.
        ids: From keys int64 [U] to id texts.
    """
    past = _with_context(before, split)
    judged = _judged(past, split, exclude)
    users = np.unique(split.user[judged])
    texts = ids(users)
    order = sorted(range(len(users)), key=texts.__getitem__)
    place = np.full(max(past.user.max(initial=0), split.user.max(initial=0)) + 1, -1, np.int64)
    place[users[order]] = np.arange(len(users))
    owner = place[past.user]
    usable = (owner >= 0) & (past.item_row > 0)
    history = _grouped(owner, len(users), usable & (past.positive != 0), past.item_row)
    positive = _grouped(place[split.user[judged]], len(users), np.ones(len(judged), bool), split.item_row[judged], judged + first_row)
    offsets, items = _grouped(owner, len(users), usable & exclude, past.item_row)
    seen = _distinct(offsets, items)
    return EvaluationSet(users[order], tuple(texts[i] for i in order), *history, *positive, *seen)  # type: ignore[call-arg]


def _with_context(before: Events, split: Events) -> Events:
    context = split.target == 0
    return Events(*(np.concatenate([getattr(before, n), getattr(split, n)[context]]) for n in Events.__slots__))


def _judged(past: Events, split: Events, exclude: bool) -> np.ndarray:
    """Return positions of the events to find: positive targets of known ids, each (user, item) once, not seen before if excluded."""
    rows = np.flatnonzero((split.positive != 0) & (split.target != 0) & (split.user > 0) & (split.item > 0))
    width = _width(past.item, split.item)
    pairs = _pairs(split.user[rows], split.item[rows], width)
    _, first = np.unique(pairs, return_index=True)
    rows, pairs = rows[np.sort(first)], pairs[np.sort(first)]
    return rows[~_among(pairs, _ascending(_pairs(past.user, past.item, width)))] if exclude else rows


def _width(*items: np.ndarray) -> int:
    return max(int(part.max(initial=0)) for part in items) + 1


def _pairs(user: np.ndarray, item: np.ndarray, width: int) -> np.ndarray:
    return np.asarray(user.astype(np.int64) * width + item)


def _ascending(values: np.ndarray) -> np.ndarray:
    """Return the distinct values, ascending. By sorting: the hash table of `np.unique` is slow on multiples of one number."""
    ordered = np.sort(values)
    return np.asarray(ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]])


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return bool [n]: which values are in `known`, ascending."""
    place = np.searchsorted(known, values)
    return np.asarray(np.append(known, -1)[place] == values)


def _grouped(owner: np.ndarray, groups: int, kept: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(owner[rows], kind="stable")]
    offsets = offsets_of(np.bincount(owner[rows], minlength=groups))
    return [offsets, *(value[rows] for value in values)]


def _distinct(offsets: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = _width(items)
    pairs = _ascending(_pairs(owners(offsets), items, width))
    counts = np.bincount(pairs // width, minlength=len(offsets) - 1)
    return offsets_of(counts), pairs % width


def _take(offsets: np.ndarray, index: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    taken, inside = take_lists(offsets, index)
    return [taken, *(value[inside] for value in values)]
