"""Rows of long files are read, not mapped: the same values, and no page of the file stays with the process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features.held import Held, bytes_of_a_row, read_rows
from autorec_kernel.features.store import load
from autorec_kernel.records.bags import Bags
from autorec_kernel.records.table import Coded, Ragged

ROWS = {
    "none": [],
    "neighbours": range(100, 200),
    "near": range(0, 5000, 7),
    "far": [0, 1, 9_000, 9_001, 30_000, 49_999],
    "some": sorted({int(row) for row in np.random.default_rng(0).integers(0, 50_000, 4_000)}),
}


def mapped(folder: Path, array: np.ndarray) -> np.ndarray:
    np.save(folder / "a.npy", array)
    return np.asarray(np.load(folder / "a.npy", mmap_mode="r"))


@pytest.mark.parametrize("asked", ROWS)
@pytest.mark.parametrize("shape", [(50_000,), (50_000, 3), (50_000, 2, 5)])
@pytest.mark.parametrize("kind", [np.int64, np.float32, np.int8])
def test_rows_of_a_file_are_those_of_its_array(tmp_path, asked, shape, kind):
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    rows = np.array(ROWS[asked], np.int64)
    found = read_rows(mapped(tmp_path, array), rows)
    assert found.dtype == kind
    assert np.array_equal(found, array[rows])


@pytest.mark.parametrize("view", [lambda a: a[500:], lambda a: a[::2], lambda a: a[:, 1:], lambda a: np.array(a), lambda a: a[:, :0]])
def test_rows_of_views_and_of_arrays_in_memory_are_found_too(tmp_path, view):
    array = view(mapped(tmp_path, np.arange(20_000).reshape(-1, 4)))
    rows = np.array([0, 1, 2, 700, 2_000])
    assert np.array_equal(read_rows(array, rows), array[rows])


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file keeps its length there")
def test_a_file_that_became_shorter_is_told(tmp_path):
    array = mapped(tmp_path, np.arange(50_000))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:1000])
    with pytest.raises(InfrastructureError, match=r"a\.npy: a stored array is shorter than it was"):
        read_rows(array, np.array([3, 40_000]))


@pytest.mark.parametrize("task", ["click", "recommend"])
def test_held_rows_give_what_the_feature_set_gives(build, tmp_path, task):
    features = build(task, "time")
    features.save(tmp_path)
    again = load(tmp_path)
    names = [feature.name for feature in features.schema.features]
    rows = features.rows("train")[::3]
    held = Held(again, rows, names, features.schema.tasks, uses=1).read()
    places = np.random.default_rng(0).permutation(len(rows))
    expected, found = features.row_inputs(names, rows[places]), held.row_inputs(names, places)
    assert all(np.array_equal(expected[name], found[name], equal_nan=True) for name in names)
    assert {"bag", "history", "numeric"} <= {features.schema[name].kind for name in names}
    for label in features.schema.tasks:
        assert np.array_equal(held.labels_at(label, places), features.labels_at(label, rows[places]), equal_nan=True)
    assert np.array_equal(held.rows_at("item", places), features.item_rows[rows[places]])


def test_lists_of_texts_and_numbers_are_held():
    from autorec_kernel.features.held import _copied

    offsets = np.array([0, 2, 2, 5, 6])
    texts = Ragged(Coded(np.arange(6, dtype=np.int32), np.array(list("abcdef"), dtype=object)), offsets)
    found = _copied(texts, np.array([0, 1, 3]))
    assert (found.offsets.tolist(), found.values.text().tolist()) == ([0, 2, 2, 3], ["a", "b", "f"])
    bags = _copied(Bags(np.arange(1, 7, dtype=np.int32), offsets, 3), np.array([2, 3]))
    assert bags[np.array([1, 0])].tolist() == [[6, 0, 0], [3, 4, 5]]


def test_rows_are_read_once_and_let_go_after_the_last_use(build):
    features = build("click", "time")
    held = Held(features, features.rows("train")[:5], ["device"], ["rating"], uses=2)
    first = held.read()
    held.let_go()
    assert held.read() is first
    held.let_go()
    assert held.read() is not first


def test_the_bytes_of_a_row_are_those_stored_for_the_features_asked(build):
    features = build("click", "time")
    values = features.parts["train"].values
    name = next(name for name, value in values.items() if isinstance(value, np.ndarray))
    assert bytes_of_a_row(features, [name]) - bytes_of_a_row(features, []) == values[name].nbytes // len(values[name])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which pages are resident")
def test_reading_rows_leaves_no_page_of_the_file_with_the_process(tmp_path):
    array = mapped(tmp_path, np.arange(2_000_000))
    rows = np.sort(np.random.default_rng(0).permutation(len(array))[:50_000])
    read_rows(array, rows)
    assert resident(tmp_path / "a.npy") <= 64
    assert int(array[rows].sum()) == int(rows.sum())
    assert resident(tmp_path / "a.npy") > 10_000  # what reading the mapping costs


def resident(path: Path) -> int:
    """Return KiB of a mapped file that count as this process's memory."""
    blocks = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").split(str(path))[1:]
    return sum(int(block.split("Rss:")[1].split()[0]) for block in blocks)
