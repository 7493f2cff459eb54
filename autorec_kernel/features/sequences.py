"""Training sequences: histories cut into windows of inputs and the items that followed."""

from __future__ import annotations

import numpy as np

from autorec_kernel.records.as_of import gather_last
from autorec_kernel.records.interactions import Interactions

__all__ = ["sequence_windows"]


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
