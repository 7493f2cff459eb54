from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.models import order
from autorec_kernel.models.order import batches_of, shuffled


@pytest.mark.parametrize("count", [0, 1, 100, 1000, 1003])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_row_is_visited_once_and_only_the_last_batch_is_smaller(monkeypatch, count, size):
    for limit in (10**6, 10):  # one permutation, and shuffled blocks
        monkeypatch.setattr(order, "_WHOLE", limit)
        monkeypatch.setattr(order, "_BLOCK", 16)
        monkeypatch.setattr(order, "_POOL", 4)
        found = list(batches_of(shuffled(count, np.random.default_rng(0)), size))
        assert sorted(np.concatenate([np.zeros(0, int), *found]).tolist()) == list(range(count))
        assert all(len(part) == size for part in found[:-1])


def test_few_rows_are_one_permutation():
    parts = list(shuffled(500, np.random.default_rng(3)))
    assert np.array_equal(parts[0], np.random.default_rng(3).permutation(500)) and len(parts) == 1


def test_many_rows_are_read_in_stretches_that_meet_in_random_company(monkeypatch):
    monkeypatch.setattr(order, "_WHOLE", 100)
    monkeypatch.setattr(order, "_BLOCK", 16)
    monkeypatch.setattr(order, "_POOL", 8)
    parts = list(shuffled(16 * 64, np.random.default_rng(0)))
    assert [len(part) for part in parts] == [128] * 8
    for part in parts:
        blocks = np.unique(part // 16)
        assert len(blocks) == 8  # whole blocks, and not neighbours of each other
        assert (np.diff(blocks) > 1).any()
        assert (np.diff(part) < 0).mean() > 0.3
    again = list(shuffled(16 * 64, np.random.default_rng(0)))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], next(shuffled(16 * 64, np.random.default_rng(1))))
