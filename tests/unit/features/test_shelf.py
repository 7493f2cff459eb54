"""Values and tables in files: the same bytes as in memory, memory-mapped, each array once, and in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features import FeatureSet, build_features, shelf
from autorec_kernel.kernel import Kernel
from autorec_kernel.records import blocks
from autorec_kernel.testing.data import tiny_dataset

pytestmark = pytest.mark.plugins


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LONG", 1)
    monkeypatch.setattr(blocks, "BLOCK", 50)


def mapped(array: np.ndarray) -> bool:
    return isinstance(array, np.memmap) or isinstance(array.base, np.memmap)


@pytest.mark.parametrize("task", ["recommend", "rate", "click"])
def test_a_set_in_files_has_the_bytes_of_one_in_memory(kernel: Kernel, tmp_path: Path, task: str, short: None) -> None:
    dataset = tiny_dataset(task="rate" if task == "click" else task)
    in_memory, in_files = build_features(dataset, kernel, task=task), build_features(dataset, kernel, task=task, folder=tmp_path)
    assert in_files.digest == in_memory.digest
    assert all(mapped(value) for value in in_files.parts["train"].values.values() if isinstance(value, np.ndarray))
    assert all(mapped(table.values) for op in in_files.fitted for table in op.program.tables.values() if len(table.values))
    for one in (in_files, FeatureSet.load(tmp_path)):
        before, after = in_memory.state("valid").arrays(), one.state("valid").arrays()
        assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_tables_of_the_same_events_share_their_moments(kernel: Kernel, tmp_path: Path, short: None) -> None:
    build_features(tiny_dataset(task="rate"), kernel, folder=tmp_path)
    files = json.loads((tmp_path / "features.json").read_text())["files"]
    times = [file for name, file in files.items() if name.endswith(".times")]
    assert len(set(times)) < len(times)
    assert {path.stem for path in (tmp_path / shelf.ARRAYS).glob("shelf-*.npy")} >= set(files.values())


def test_a_second_set_in_the_same_folder_leaves_no_file_of_the_first(kernel: Kernel, tmp_path: Path, short: None) -> None:
    (tmp_path / shelf.ARRAYS).mkdir()
    (tmp_path / shelf.ARRAYS / "shelf-9999.npy").write_bytes(b"old")
    found = build_features(tiny_dataset(task="rate"), kernel, folder=tmp_path)
    assert not (tmp_path / shelf.ARRAYS / "shelf-9999.npy").exists()
    assert FeatureSet.load(tmp_path).digest == found.digest


def test_a_file_that_cannot_be_written_ends_the_build(kernel: Kernel, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(InfrastructureError, match="No space left"):
        build_features(tiny_dataset(task="rate"), kernel, folder=tmp_path)


_LIMIT = 400  # MiB above what the opened data set takes: 200 measured; 2,800 before values and tables went to files in blocks


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the largest resident size")
def test_a_million_rows_are_built_in_bounded_memory() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "benchmarks.feature_speed", "--rows", "1000000"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found = json.loads(told.stdout)
    assert found["mib_peak"] - found["mib_after_open"] < _LIMIT
    assert found["features"] > 80
