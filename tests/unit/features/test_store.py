"""A feature set on disk: equal bytes after reading, memory-mapped, without pickle and without closed test rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.data import tiny_dataset

pytestmark = pytest.mark.plugins
Build = Callable[..., FeatureSet]


def same(one: FeatureSet, two: FeatureSet, rows: np.ndarray) -> None:
    names = [feature.name for feature in one.schema.features]
    left, right = one.row_inputs(names, rows), two.row_inputs(names, rows)
    assert all(left[name].tobytes() == right[name].tobytes() and left[name].dtype == right[name].dtype for name in names)


@pytest.mark.parametrize("task", ["recommend", "rate"])
def test_a_stored_set_reads_back_byte_for_byte(build: Build, tmp_path: Path, task: str) -> None:
    features = build(task)
    features.save(tmp_path)
    back = FeatureSet.load(tmp_path)
    assert back.digest == features.digest and back.schema == features.schema and back.plan == features.plan
    assert back.protocol.id == features.protocol.id
    same(features, back, np.arange(400))
    assert np.array_equal(features.evaluation("valid").positive_items, back.evaluation("valid").positive_items)
    assert all(np.array_equal(a, b) for a, b in zip(features.sequences(4), back.sequences(4), strict=True))
    before, after = features.state("valid").arrays(), back.state("valid").arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_values_are_memory_mapped(build: Build, tmp_path: Path) -> None:
    build("rate").save(tmp_path)
    column = FeatureSet.load(tmp_path).parts["train"].values["user.count"]
    assert isinstance(column.base, np.memmap) or isinstance(column, np.memmap)
    assert not column.flags.writeable


def test_closed_test_rows_are_not_on_disk_and_can_be_opened_after_reading(build: Build, tmp_path: Path) -> None:
    features = build("rate")
    features.save(tmp_path)
    back = FeatureSet.load(tmp_path)
    assert "test" not in back.parts
    dataset = tiny_dataset(task="rate")
    dataset.test.fix_plan("x")
    table = dataset.test.open("x")
    back.open_test(table)
    features.open_test(table)
    same(features, back, np.arange(480))


def test_nothing_on_disk_needs_pickle(build: Build, tmp_path: Path) -> None:
    build("recommend").save(tmp_path)
    files = list(tmp_path.rglob("*.npy"))
    assert files and all(np.load(file, allow_pickle=False).dtype != object for file in files)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".npy", ".json"}


def test_building_into_a_folder_stores_the_set(kernel: Kernel, tmp_path: Path) -> None:
    features = build_features(tiny_dataset(), kernel, folder=tmp_path / "set")
    assert FeatureSet.load(tmp_path / "set").digest == features.digest


def test_a_folder_without_a_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="no feature set"):
        FeatureSet.load(tmp_path)
    (tmp_path / "features.json").write_text('{"version": 99}')
    with pytest.raises(InfrastructureError, match="version 99"):
        FeatureSet.load(tmp_path)
