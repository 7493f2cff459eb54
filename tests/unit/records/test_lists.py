from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.errors import BundleError
from autorec_kernel.records.lists import listed, offsets_of, owners, take_lists, unlisted

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


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.9])
def test_offsets_are_read_as_they_were_and_take_no_more_than_what_is_held(share: float, dtype: type) -> None:
    rng = np.random.default_rng(0)
    offsets = offsets_of(np.where(rng.random(5000) < share, rng.integers(1, 4, 5000), 0)).astype(dtype)
    stored = listed(offsets)
    found = unlisted({f"a.{name}": array for name, array in stored.items()}, "a.")
    assert (found.dtype, found.tolist()) == (offsets.dtype, offsets.tolist())
    held = int((np.diff(offsets) > 0).sum())
    assert sum(array.nbytes for array in stored.values()) <= min(8 * held + 8, offsets.nbytes) + (offsets.nbytes if share > 0.3 else 0)


@pytest.mark.parametrize(
    "harm",
    [
        {"used": [3, 2]},
        {"used": [2, 9]},
        {"used": [-1, 2]},
        {"used": [2]},
        {"counts": [0, 1]},
        {"counts": [1.5, 1.0]},
        {"lists": [2**40]},
        {"lists": [5, 5]},
    ],
)
def test_stored_lists_that_contradict_themselves_are_refused(harm: dict[str, list[float]]) -> None:
    whole = {"used": [2, 4], "counts": [1, 3], "lists": [5]}
    assert unlisted({name: np.array(value) for name, value in whole.items()}).tolist() == [0, 0, 0, 1, 1, 4]
    with pytest.raises(BundleError, match="does not add up"):
        unlisted({name: np.array(value) for name, value in {**whole, **harm}.items()})
