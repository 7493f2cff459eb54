"""What strangers are answered with: items that were chosen most, or most lately, by what users of the validation part went on to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.evaluation import evaluate_scores
from autorec_kernel.features.entities import ITEM, POSITIVE, USER
from autorec_kernel.records.dataset import CLOCK, MISSING_TIME
from autorec_kernel.records.live import interest_of
from autorec_kernel.records.table import Table

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet

__all__ = ["Fading", "fading_of", "interest"]

_METRIC = "ndcg@10"
_HALF_LIVES = (0.5, 0.25, 0.1, 0.05)  # shares of the time that training spans
_FEWEST = 20  # new users of the validation part that can choose; with fewer all of its users stand in for them
_CELLS = 2e7  # scores judged at most
_SURE = 1.0  # standard errors that fading must be better by


@dataclass(frozen=True, slots=True)
class Fading:
    """How fast the popularity fades that strangers are answered with.

    Args:
        half_life: Nanoseconds after which an event counts half; 0 = all events count alike.
        users: Validation users that chose it.
        new: Whether nothing is known of any of them.
        reached, plain: Their NDCG@10 with it, and with plain counts.
    """

    half_life: float = 0.0
    users: int = 0
    new: bool = False
    reached: float = 0.0
    plain: float = 0.0

    def __str__(self) -> str:
        who = "new users" if self.new else "users"
        days = self.half_life / 86_400e9
        return (
            f"strangers are answered by what was popular lately: an event counts half after {days:.3g} days "
            f"({_METRIC} {self.reached:.4f} for {self.users} {who} of the validation part; {self.plain:.4f} with plain counts)"
        )


def interest(events: Table, items: int, half_life: float) -> np.ndarray:
    """Return float32 [items]: positive events of known users and items, each worth 2^(-age / half-life).

    The ages count from the newest event; an unknown time is the oldest. Faded counts are scaled to the largest plain one.

    Args:
        events: Prepared events.
        items: Rows of the catalogue, the unknown one included.
        half_life: Nanoseconds; 0 = plain counts.
    """
    item = np.asarray(events[ITEM])
    known = (np.asarray(events[USER]) > 0) & (item > 0) & (np.asarray(events[POSITIVE]) != 0)
    return interest_of(item[known], np.asarray(events[CLOCK])[known], items, half_life)


def fading_of(features: FeatureSet, seed: int = 0) -> Fading:
    """Choose the half-life by the lists that users of the validation part would have got as strangers.

    There is none (`Fading()`) where no clock orders all events, where nothing is recommended, and where no half-life is better than plain
    counts by more than the standard error of the users' differences.
    """
    protocol = features.protocol
    if protocol.clock != "time" or features.task != "recommend" or not len(features.rows("valid")):
        return Fading()
    judged = features.evaluation("valid")
    strange = (judged.users == 0) | (judged.users >= features.schema.users)
    new = np.flatnonzero(strange & (np.diff(judged.history_offsets) == 0))
    chosen = judged.take(new) if len(new) >= _FEWEST else judged
    chosen = chosen.sample(max(1, int(_CELLS) // max(1, features.schema.items)), np.random.default_rng(np.random.SeedSequence(seed)))
    if not len(chosen):
        return Fading()

    def reached(half_life: float) -> np.ndarray:
        scores = interest(events, features.schema.items, half_life)
        every = np.broadcast_to(scores, (len(chosen), len(scores)))
        return evaluate_scores([_METRIC], chosen.users, every, chosen.positives, chosen.seen).values[_METRIC]

    events = features.parts["train"].events
    times = np.asarray(events[CLOCK])
    times = times[times != MISSING_TIME]
    span = float(times.max() - times.min()) if len(times) else 0.0
    plain = reached(0.0)
    found = {share * span: reached(share * span) for share in _HALF_LIVES if share * span >= 1.0}
    best = max(found, key=lambda half_life: found[half_life].mean(), default=0.0)
    if not best:
        return Fading()
    difference = found[best] - plain
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else float("inf")
    if difference.mean() <= _SURE * error:
        return Fading()
    return Fading(best, len(chosen), len(new) >= _FEWEST, float(found[best].mean()), float(plain.mean()))
