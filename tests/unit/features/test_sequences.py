"""Training sequences against a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.features.sequences import sequence_windows
from autorec_kernel.records.interactions import Interactions


def interactions(histories: list[list[int]]) -> Interactions:
    offsets = np.cumsum([0, *(len(history) for history in histories)]).astype(np.int64)
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    return Interactions(offsets, items, np.ones(len(items), np.float32), len(histories), 10, True)


def test_windows_share_one_item_and_only_the_oldest_is_short() -> None:
    inputs, targets = sequence_windows(interactions([[], [1, 2, 3, 4, 5, 6], [7], [8, 9]]), 2)
    assert inputs.tolist() == [[1, 0], [2, 3], [4, 5], [8, 0]]
    assert targets.tolist() == [[2, 0], [3, 4], [5, 6], [9, 0]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=6), st.integers(1, 5))
def test_every_transition_is_learnt_once(histories: list[list[int]], length: int) -> None:
    inputs, targets = sequence_windows(interactions(histories), length)
    found = [(int(a), int(b)) for row, goal in zip(inputs, targets, strict=True) for a, b in zip(row, goal, strict=True) if b]
    expected = [pair for history in histories for pair in pairwise(history)]
    assert sorted(found) == sorted(expected)
    assert ((inputs != 0) == (targets != 0)).all() and (np.diff((inputs != 0).astype(int), axis=1) <= 0).all()
