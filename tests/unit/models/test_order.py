from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.models import order
from autorec_kernel.models.order import at_once, shuffled, stretches_of


@pytest.fixture
def short_blocks(monkeypatch):
    def limit(whole: int, pool: int) -> None:
        monkeypatch.setattr(order, "_WHOLE", whole)
        monkeypatch.setattr(order, "_BLOCK", 16)
        monkeypatch.setattr(order, "_POOL", pool)

    return limit


@pytest.mark.parametrize("count", [0, 1, 100, 1000, 1003])
@pytest.mark.parametrize("size", [1, 7, 64, 200])
def test_every_row_is_visited_once_and_only_the_last_stretch_is_no_whole_number_of_batches(short_blocks, count, size):
    for limit in (10**6, 10):  # one permutation, and shuffled blocks
        short_blocks(limit, 4)
        parts = list(shuffled(count, np.random.default_rng(0)))
        found = list(stretches_of(parts, size))
        assert np.array_equal(np.concatenate([np.zeros(0, int), *found]), np.concatenate([np.zeros(0, int), *parts]))
        assert sorted(np.concatenate([np.zeros(0, int), *found]).tolist()) == list(range(count))
        assert all(len(part) % size == 0 and len(part) for part in found[:-1])


def test_few_rows_are_one_permutation():
    parts = list(shuffled(500, np.random.default_rng(3)))
    assert np.array_equal(parts[0], np.random.default_rng(3).permutation(500)) and len(parts) == 1


def test_many_rows_are_read_in_stretches_that_meet_in_random_company(short_blocks):
    short_blocks(100, 8)
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


def test_rows_of_many_bytes_are_read_in_stretches_that_fit_into_memory():
    count, row_bytes = 40_000, 10_000  # 400 MB
    assert at_once(count) and not at_once(count, row_bytes)
    parts = list(shuffled(count, np.random.default_rng(0), row_bytes))
    assert max(len(part) for part in parts) * row_bytes <= 64 * 2**20
    assert min(len(part) for part in parts[:-1]) * row_bytes > 60 * 2**20
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
