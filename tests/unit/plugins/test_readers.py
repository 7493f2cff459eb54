from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import autorec_readers.plugin as plugin
from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.table import Ragged
from autorec_readers.frames import FrameReader
from autorec_readers.recbole import AtomicReader

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
INTER += "".join(f"0{n % 5}\t{n // 5}\t{1 + n % 3}\t{1e9 + n}\n" for n in range(60))
ITEM = "item_id:token\tgenre:token_seq\tvector:float_seq\n" + "".join(f"{n}\ta b{n % 3}\t0.5 {n}.25\n" for n in range(12))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel({"readers": plugin})


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_atomic_files_are_read_with_their_side_table(kernel: Kernel, tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path, "x.inter", INTER), items=_write(tmp_path, "x.item", ITEM), kernel=kernel)
    kinds = {column.name: column.kind for column in dataset.schema.columns}
    assert dataset.train.rows + dataset.valid.rows + dataset.test.rows == 60
    assert (dataset.protocol.split, kinds["genre"], kinds["vector"]) == ("temporal", "multi", "vector")
    assert isinstance(dataset.items["genre"], Ragged)
    assert set(dataset.train["user_id"].values) == {"00", "01", "02", "03", "04"}  # type: ignore[union-attr]


def test_compressed_atomic_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.inter.gz"
    path.write_bytes(gzip.compress(INTER.encode()))
    assert AtomicReader().accepts(path)
    assert AtomicReader().read(path).num_rows == 60


def test_a_header_without_types_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'item' is not that of an atomic file"):
        AtomicReader().read(_write(tmp_path, "x.inter", "user:token\titem\n1\t2\n"))


def test_without_the_plugin_an_atomic_file_is_refused_with_the_way_to_readers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="autorec plugins list --kind reader"):
        open_dataset(_write(tmp_path, "x.inter", INTER))


@pytest.mark.parametrize("make", [pl.DataFrame, lambda columns: pl.DataFrame(columns).lazy()])
def test_frames_of_other_libraries_equal_the_pandas_frame(kernel: Kernel, make: Any) -> None:
    columns = {"user_id": [f"0{n % 5}" for n in range(60)], "item_id": [n // 5 for n in range(60)], "time": [10**9 + n for n in range(60)]}
    other, plain = open_dataset(make(columns), kernel=kernel), open_dataset(pd.DataFrame(columns))
    assert other.protocol == plain.protocol
    for part in ("train", "valid", "test"):
        assert other.row_ids[part].tolist() == plain.row_ids[part].tolist()


@pytest.mark.parametrize("source", [pd.DataFrame({"a": [1]}), pa.table({"a": [1]}), "ratings.csv", 7])
def test_the_frame_reader_leaves_the_rest_to_others(source: Any) -> None:
    assert not FrameReader().accepts(source)


@pytest.mark.parametrize("source", ["ratings.csv", "x.inter.csv", pd.DataFrame({"a": [1]})])
def test_the_atomic_reader_leaves_the_rest_to_others(source: Any) -> None:
    assert not AtomicReader().accepts(source)
