"""Parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from autorec_kernel.data.limits import Limits
from autorec_kernel.errors import DataError

__all__ = ["is_parquet", "read_parquet"]

_MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Return whether the file begins as Parquet does, or is called so."""
    with path.open("rb") as stream:
        return stream.read(4) == _MAGIC or path.suffix in (".parquet", ".pq")


def read_parquet(path: Path, limits: Limits) -> pa.Table:
    """Read a Parquet file.

    Raises:
        DataError: Truncated or damaged, or over the limits.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_size(path, file.metadata, limits)
            return file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        message = f"the Parquet file is truncated or damaged: {str(error).splitlines()[0][:200]}"
        raise DataError(message, where=str(path), hint="copy or write the file again") from None


def _check_size(path: Path, metadata: pq.FileMetaData, limits: Limits) -> None:
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if size > limits.table_bytes:
        message = f"the table is larger than {limits.table_bytes:,} bytes when decompressed"
        raise DataError(message, where=str(path), hint="keep the columns and rows you need")
    if metadata.num_columns > limits.columns:
        message = f"{metadata.num_columns:,} columns; at most {limits.columns:,} are read"
        raise DataError(message, where=str(path), hint="keep the columns you need")
