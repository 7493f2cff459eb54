from __future__ import annotations

import numpy as np

from autorec_kernel.records.lists import offsets_of, owners, take_lists

OFFSETS = np.array([0, 2, 2, 5])
ENTRIES = np.array([10, 11, 30, 31, 32])


def test_offsets_count_up_from_zero() -> None:
    assert offsets_of([2, 0, 3]).tolist() == OFFSETS.tolist()
    assert offsets_of([]).tolist() == [0]
    assert offsets_of(np.array([], np.int32)).dtype == np.int64


def test_every_entry_has_the_list_that_holds_it() -> None:
    assert owners(OFFSETS).tolist() == [0, 0, 2, 2, 2]


def test_lists_are_taken_in_the_given_order_and_may_repeat() -> None:
    offsets, index = take_lists(OFFSETS, np.array([2, 1, 0, 2]))
    assert offsets.tolist() == [0, 3, 3, 5, 8]
    assert ENTRIES[index].tolist() == [30, 31, 32, 10, 11, 30, 31, 32]


def test_no_list_at_all_can_be_taken() -> None:
    offsets, index = take_lists(OFFSETS, np.array([], np.int64))
    assert (offsets.tolist(), index.tolist()) == ([0], [])
