"""Training views of the positive events: the sparse matrix, and sequences of inputs and the items that followed."""

from __future__ import annotations

import numpy as np

from autorec_kernel.features.entities import ITEM, POSITIVE, USER
from autorec_kernel.features.parts import Part
from autorec_kernel.records.as_of import gather_last
from autorec_kernel.records.dataset import CLOCK, Clock
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.records.lists import offsets_of

__all__ = ["interactions_of", "sequence_windows"]


def interactions_of(part: Part, schema: FeatureSchema, *, clock: Clock, weighted: bool) -> Interactions:
    """Return the positive events of known users and items, oldest first a user; `weighted`: with their labels instead of ones."""
    users, items = part.ints(USER), part.ints(ITEM)
    kept = np.flatnonzero((part.ints(POSITIVE) != 0) & (users > 0) & (items > 0))
    kept = kept[np.argsort(users[kept], kind="stable")]
    offsets = offsets_of(np.bincount(users[kept], minlength=schema.users))
    values = np.asarray(part.label[kept], np.float32) if weighted else np.ones(len(kept), np.float32)
    times = part.ints(CLOCK)[kept] if clock == "time" else None
    return Interactions(offsets, items[kept].astype(np.int32), values, schema.users, schema.items, clock != "none", times)


def sequence_windows(interactions: Interactions, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs int64 [S, length], targets int64 [S, length]), right-padded with 0, users ascending and windows oldest first.

    A user with n events has n - 1 transitions, cut from the end into windows of `length`: only the oldest window can be short.
    """
    transitions = np.maximum(np.diff(interactions.offsets) - 1, 0)
    windows = -(-transitions // length)
    owner = np.repeat(np.arange(interactions.users), windows)
    last = np.repeat(np.cumsum(windows), windows) - np.arange(windows.sum()) - 1  # how many windows follow in the same user
    end = interactions.offsets[owner + 1] - last * length
    start = np.maximum(interactions.offsets[owner] + 1, end - length)
    inputs = gather_last(interactions.items, start - 1, end - 1, length)
    return inputs, gather_last(interactions.items, start, end, length)
