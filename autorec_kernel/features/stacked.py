"""The cut of the training events that stacked models need: what a closed form is solved on, and what is learned on its answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.features.entities import POSITIVE, TARGET, USER_KEY
from autorec_kernel.records.dataset import CLOCK

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet

__all__ = ["RERANK_SHARE", "fit_part", "held_out", "rerank_part"]

RERANK_SHARE = 0.1  # of the training events, that a closed form is solved without


def fit_part(features: FeatureSet) -> FeatureSet:
    """Return the feature set whose `interactions` are those of the training events that are not held out; its digest tells them apart."""
    kept = _with(features, POSITIVE, ~held_out(features))
    return replace(kept, digest=features.digest and f"{features.digest}/fit")


def rerank_part(features: FeatureSet) -> FeatureSet:
    """Return the feature set whose training rows are the held-out ones alone; what they read of the events before them stays."""
    return _with(features, TARGET, held_out(features))


def held_out(features: FeatureSet) -> np.ndarray:
    """Return bool [training events], True for the tenth that a closed form has not seen when something is learned on its answers.

    It is cut as the protocol cuts validation rows: the newest events of all, the newest ones of each user (`leave-one-out`, or a clock
    that only orders a user's own events), or, where rows are split at random or have no clock, any. A user with n events gives
    floor(n / 10 + u), u uniform: the share holds overall. The draws are the same for every trial and every seed of a run.
    """
    part, protocol, rng = features.parts["train"], features.protocol, np.random.default_rng(0)
    count, places = max(1, round(RERANK_SHARE * part.rows)), np.arange(part.rows)
    if protocol.clock == "none" or protocol.split == "random":
        late = rng.permutation(part.rows) < count
    elif protocol.clock == "position" or protocol.split == "leave-one-out":
        late = _newest_of_each(part.ints(USER_KEY), rng)
    else:
        clock = part.ints(CLOCK)
        late = clock >= clock[part.rows - count] if part.rows else places > 0
        late = places >= part.rows - count if late.sum() > 2 * count else late  # too many at one moment: the written order cuts them
    return late if late.any() else places == part.rows - 1


def _newest_of_each(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return bool [n], the newest events of each user int64 [n]; events are in order of time."""
    sizes = np.bincount(users)
    order = np.argsort(users, kind="stable")
    following = np.empty(len(users), np.int64)  # events of the same user that come later
    following[order] = np.cumsum(sizes)[users[order]] - 1 - np.arange(len(users))
    newest: np.ndarray = following < np.floor(RERANK_SHARE * sizes + rng.random(len(sizes)))[users]
    return newest


def _with(features: FeatureSet, column: str, kept: np.ndarray) -> FeatureSet:
    """Return the feature set with one of the kernel's 0/1 columns switched off for the training events that are not `kept`."""
    part = features.parts["train"]
    events = part.events.with_columns({column: part.ints(column) * kept})
    return replace(features, parts={**features.parts, "train": replace(part, events=events)}, _cache={})
