"""Answers as files: CSV or Parquet by their ending, written beside and put in place at once."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autorec_kernel.errors import InfrastructureError, UsageError

__all__ = ["check_target", "write_table"]

_BLOCK = 100_000  # rows of one Parquet row group


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        UsageError: The ending is neither .csv nor .parquet.
        InfrastructureError: The folder does not exist.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"answers are written as .csv or .parquet, not {path.suffix or 'without an ending'!r}", where=str(path))
    if not path.parent.is_dir():
        raise InfrastructureError("the folder does not exist", where=str(path.parent), hint=f"mkdir -p {path.parent}")


def write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows and return how many.

    Raises:
        InfrastructureError: The file cannot be written.
    """
    check_target(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        count = (_write_csv if path.suffix == ".csv" else _write_parquet)(partial, names, rows)
        os.replace(partial, path)
    except OSError as error:
        raise InfrastructureError(f"the file cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"rank": pa.int32(), "score": pa.float64(), "prediction": pa.float64(), "known": pa.bool_()}
    fields = [(name, pa.bool_() if name.startswith("known") else kinds.get(name, pa.string())) for name in names]
    schema, count, block = pa.schema(fields), 0, []
    with pq.ParquetWriter(path, schema) as writer:
        for row in rows:
            block.append(row)
            if len(block) == _BLOCK:
                count += _flush(writer, schema, block)
        count += _flush(writer, schema, block)
    return count


def _flush(writer: Any, schema: Any, block: list[Sequence[Any]]) -> int:
    import pyarrow as pa

    written = len(block)
    columns = list(zip(*block, strict=True)) if block else [()] * len(schema)
    writer.write_table(pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema))
    block.clear()
    return written
