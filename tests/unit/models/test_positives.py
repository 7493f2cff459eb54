"""Which pairs of users and items training holds."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.models.positives import Positives
from autorec_kernel.records.interactions import Interactions


def _history(rng: np.random.Generator, users: int, items: int) -> Interactions:
    counts = rng.integers(0, 5, users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    total = int(offsets[-1])
    return Interactions(offsets, rng.integers(1, items, total).astype(np.int32), np.ones(total, np.float32), users, items, True)


@pytest.mark.parametrize("bits", [1 << 20, 0], ids=["bits", "keys"])
def test_every_pair_is_told_apart(bits: int) -> None:
    users, items = 13, 11
    history = _history(np.random.default_rng(3), users, items)
    known = {(user, item) for user in range(users) for item in history.items[history.offsets[user] : history.offsets[user + 1]].tolist()}
    pairs = [(user, item) for user in range(users) for item in range(items)]
    found = Positives(history, bits).holds(*(np.array(side) for side in zip(*pairs, strict=True)))
    assert found.dtype == bool
    assert found.tolist() == [pair in known for pair in pairs]


@pytest.mark.parametrize("bits", [1 << 20, 0], ids=["bits", "keys"])
def test_no_pair_is_among_no_events(bits: int) -> None:
    empty = Interactions(np.zeros(4, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 3, 9, True)
    assert not Positives(empty, bits).holds(np.array([0, 2]), np.array([1, 8])).any()
