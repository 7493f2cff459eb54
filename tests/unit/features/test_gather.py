from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.features.gather import gathered, pieces_of, release, whole
from autorec_kernel.features.parts import Part
from autorec_kernel.features.store import load
from autorec_kernel.records.bags import Bags
from autorec_kernel.records.table import Table


def parts():
    sizes = {"train": 5, "valid": 0, "test": 3}
    return {split: Part(Table({"@user": np.arange(n) + 10 * place}, n), {}) for place, (split, n) in enumerate(sizes.items())}


@pytest.mark.parametrize("rows", [[3, 0], [7, 5], [6, 1, 5, 4, 0, 7, 1], []])
def test_rows_of_several_splits_come_back_in_the_order_asked(rows):
    held = parts()
    found = gathered(pieces_of(held, np.array(rows, np.int64)), lambda split, local, _: held[split].ints("@user")[local])
    assert found.tolist() == [np.r_[0:5, 20:23][row] for row in rows]


@pytest.mark.parametrize("rows", [[8], [-1], [0, 9]])
def test_rows_that_do_not_exist_are_refused(rows):
    with pytest.raises(UsageError, match="not in this feature set"):
        pieces_of(parts(), np.array(rows))


def test_a_single_filled_split_is_not_copied():
    only = np.arange(4)
    assert whole([only, only[:0]]) is only
    assert whole([only, only]).tolist() == [0, 1, 2, 3] * 2


def test_columns_whose_pages_were_let_go_read_the_same(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(100_000))
    mapped = np.asarray(np.load(tmp_path / "a.npy", mmap_mode="r"))
    base = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    part = Part(Table({"@user": mapped}, 100_000), {"label": mapped}, {"x": mapped, "tags": Bags(mapped, np.zeros(100_001, np.int64), 1)})
    total = int(mapped.sum())
    release({"train": part})
    assert int(mapped.sum()) == total


def test_a_stored_bag_is_read_ragged_from_disk_and_gives_the_same_batches(build, tmp_path: Path):
    features = build("click", "time")
    names = [feature.name for feature in features.schema.of("bag")]
    assert names
    features.save(tmp_path)
    again = load(tmp_path)
    rows = features.rows("train")[:50]
    for name in names:
        kept = again.static.get(name, again.parts["train"].values.get(name))
        assert isinstance(kept, Bags)
        assert isinstance(kept.values.base, np.memmap | mmap.mmap)
        before, after = (found.row_inputs([name], rows)[name] for found in (features, again))
        assert np.array_equal(before, after)
        assert before.shape[1] == max(1, int((before != 0).sum(1).max()))
