from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorec_kernel.records.bags import Bags, padded, same_width

LISTS = st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=12)


def bags_of(lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Bags(np.array([value for row in lists for value in row], np.int32), offsets, 7)


@given(LISTS, st.data())
def test_a_batch_is_its_rows_one_after_the_other_and_their_offsets(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=20))
    values, offsets = bags_of(lists).take(np.array(rows, np.int64))
    assert values.tolist() == [value for row in rows for value in lists[row]]
    assert offsets.tolist() == np.cumsum([0, *(len(lists[row]) for row in rows)]).tolist()
    assert (np.diff(offsets) >= 0).all()


@given(LISTS, st.data())
def test_a_batch_is_padded_to_its_own_longest_row(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=20))
    found = bags_of(lists)[np.array(rows, np.int64)]
    longest = max([1, *(len(lists[row]) for row in rows)])
    assert found.dtype == np.int64
    assert found.tolist() == [lists[row] + [0] * (longest - len(lists[row])) for row in rows]


@given(LISTS)
def test_padded_rows_become_bags_and_come_back(lists):
    bags = bags_of(lists)
    dense = np.asarray(bags)
    assert dense.shape == bags.shape == (len(lists), 7)
    again = Bags.of(dense)
    assert np.array_equal(again.values, bags.values)
    assert np.array_equal(again.offsets, bags.offsets)
    assert again.width == 7


def test_skewed_bags_take_less_than_a_third_of_the_padded_rows():
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.zipf(2.0, 20_000), 64)
    bags = Bags(np.ones(lengths.sum(), np.int32), np.concatenate([[0], np.cumsum(lengths)]), 64)
    assert bags.nbytes <= np.asarray(bags).nbytes / 3


def test_bags_on_disk_give_the_same_batches(tmp_path):
    bags = bags_of([[1, 2], [], [3, 4, 5]])
    for name in ("values", "offsets"):
        np.save(tmp_path / f"{name}.npy", getattr(bags, name))
    mapped = Bags(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("values", "offsets")), 7)
    assert isinstance(mapped.values, np.memmap)
    assert mapped[np.array([2, 1, 0])].tolist() == [[3, 4, 5], [0, 0, 0], [1, 2, 0]]


def test_no_rows_and_rows_without_values_are_one_wide():
    bags = bags_of([[], [1]])
    assert bags[np.zeros(0, np.int64)].shape == (0, 1)
    assert bags[np.array([0, 0])].tolist() == [[0], [0]]
    assert padded(np.zeros(0, np.int32), np.zeros(1, np.int64), 3).shape == (0, 3)


@pytest.mark.parametrize("shapes", [[(2, 3), (1, 5)], [(2,), (3,)], []])
def test_batches_of_several_widths_get_the_widest(shapes):
    found = same_width([np.ones(shape, np.int64) for shape in shapes])
    assert [part.shape for part in found] == ([(2, 5), (1, 5)] if shapes and len(shapes[0]) == 2 else shapes)
    assert [int(part.sum()) for part in found] == [int(np.prod(shape)) for shape in shapes]
