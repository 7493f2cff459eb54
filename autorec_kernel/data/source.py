"""From anything a user calls a table to raw columns: files, pandas frames, and through reader plugins the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from autorec_kernel.data.arrow import from_arrow
from autorec_kernel.data.csvfile import read_csv
from autorec_kernel.data.frames import from_pandas, is_pandas
from autorec_kernel.data.limits import Limits
from autorec_kernel.data.parquet import is_parquet, read_parquet
from autorec_kernel.data.stream import check_file
from autorec_kernel.errors import ContractError, DataError
from autorec_kernel.records.table import Coded, ColumnData, Ragged

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["Raw", "files_fingerprint", "fingerprint", "read_parts", "read_source"]

_PLUGIN_ENDINGS = (".inter", ".user", ".item")


@dataclass(frozen=True, slots=True)
class Raw:
    """Columns as they came, before anything is understood.

    Args:
        refused: Columns that were left out because of their type, with the reason.
        name: How errors call the source.
        digest: sha256 (hex) over the file's bytes or the frame's content.
    """

    columns: dict[str, ColumnData]
    rows: int
    name: str
    digest: str
    refused: dict[str, str] = field(default_factory=dict)


def read_source(source: Any, *, kernel: Kernel | None = None, limits: Limits | None = None) -> Raw:
    """Read one table.

    Args:
        source: Path of a CSV, TSV or Parquet file (gzip undone), a pandas frame, an arrow table, or what a reader plugin accepts.
        kernel: Where reader plugins are looked up; None = only the built-in readers.

    Raises:
        DataError: The source is damaged, over the limits, or nothing reads it.
    """
    return read_parts(source, kernel=kernel, limits=limits)["events"]


def read_parts(source: Any, *, kernel: Kernel | None = None, limits: Limits | None = None) -> dict[str, Raw]:
    """Read one source; arguments and errors as for `read_source`.

    Returns:
        `events`, and `users` and `items` where a reader plugin finds such tables in the source (the folder of a published data set).
    """
    limits = limits or Limits()
    opened = kernel.open_dataset(source) if kernel is not None else None
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is not None and opened is None:
        _refuse_address(str(source))
        check_file(path)
    name = str(path) if path is not None else f"{type(source).__name__} frame"
    if isinstance(opened, Mapping) and "events" in opened:
        return {part: _raw(_as_arrow(table, name), f"{name} ({part})", None, limits) for part, table in opened.items()}
    return {"events": _raw(_table(source, path, limits) if opened is None else _as_arrow(opened, name), name, path, limits)}


def _raw(table: pa.Table, name: str, path: Path | None, limits: Limits) -> Raw:
    _check_names(table.column_names, name, limits)
    columns, refused = from_arrow(table.rename_columns(_names(table.column_names)))
    digest = _file_digest(path) if path is not None and path.is_file() else _content_digest(columns)
    return Raw(columns, table.num_rows, name, digest, refused)


def fingerprint(*digests: str) -> str:
    """Return one sha256 (hex) for the digests of all sources of a data set."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def files_fingerprint(source: Any, users: Any = None, items: Any = None) -> str | None:
    """Return the fingerprint that a data set opened from these files now would have; None when a source is not a file.

    A run compares it at its end with `Dataset.fingerprint`, to see whether a file has changed meanwhile.
    """
    paths = [None if part is None else Path(part) if isinstance(part, str | os.PathLike) else Path() for part in (source, users, items)]
    if not all(path is None or path.is_file() for path in paths):
        return None
    return fingerprint(*("" if path is None else _file_digest(path) for path in paths))


def _table(source: Any, path: Path | None, limits: Limits) -> pa.Table:
    if path is not None and path.suffix not in _PLUGIN_ENDINGS:
        return read_parquet(path, limits) if is_parquet(path) else read_csv(path, limits)
    if path is None and (isinstance(source, pa.Table) or is_pandas(source)):
        return _as_arrow(source, "")
    told = str(path) if path is not None else f"a {type(source).__module__}.{type(source).__qualname__}"
    hint = "reader plugins open RecBole atomic files and other frames: kernel=Kernel.discover() (autorec plugins list --kind reader)"
    raise DataError(f"no reader understands {told}; the kernel itself reads CSV, TSV, Parquet and pandas frames", hint=hint)


def _as_arrow(found: Any, where: str) -> pa.Table:
    if is_pandas(found):
        return from_pandas(found)
    if not isinstance(found, pa.Table):
        told = f"a plugin opened it as {type(found).__module__}.{type(found).__qualname__}, expected a pandas frame or a pyarrow table"
        raise ContractError(told, where=where, hint="autorec plugins list --kind reader")
    return found


def _refuse_address(text: str) -> None:
    if "://" in text:
        raise DataError("addresses are not opened, only files", where=text, hint="download the file first")


def _names(names: list[str]) -> list[str]:
    return [name.strip() or f"column_{place + 1}" for place, name in enumerate(names)]


def _check_names(names: list[str], where: str, limits: Limits) -> None:
    seen = _names(names)
    twice = sorted({name for name in seen if seen.count(name) > 1}) if len(set(seen)) < len(seen) else []
    if twice:
        raise DataError(f"duplicate column name {twice[0]!r}", where=where, hint="rename or remove one of the two columns")
    if len(names) > limits.columns:
        raise DataError(f"{len(names):,} columns; at most {limits.columns:,} are read", where=where, hint="keep the columns you need")


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content_digest(columns: dict[str, ColumnData]) -> str:
    digest = hashlib.sha256()
    for name, column in columns.items():
        digest.update(repr((name, type(column).__name__)).encode())
        _feed(digest, column)
    return digest.hexdigest()


def _feed(digest: Any, column: ColumnData) -> None:
    if isinstance(column, Ragged):
        digest.update(column.offsets.tobytes())
        _feed(digest, column.values)
    elif isinstance(column, Coded):
        digest.update(column.codes.tobytes())
        digest.update("\0".join(column.values).encode("utf-8", "surrogatepass"))
    else:
        digest.update(f"{column.dtype}{column.shape}".encode() + np.ascontiguousarray(column).tobytes())
