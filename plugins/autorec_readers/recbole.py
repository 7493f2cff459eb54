"""RecBole atomic files: tab-separated text whose header names a type beside each column (`genre:token_seq`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.config import ComponentConfig
from autorec_kernel.data import Limits
from autorec_kernel.data.csvfile import read_csv
from autorec_kernel.data.stream import check_file
from autorec_kernel.errors import DataError

__all__ = ["AtomicReader"]

_ENDINGS = (".inter", ".user", ".item")
_TYPES = ("token", "token_seq", "float", "float_seq")


class AtomicReader:
    """Opens `.inter`, `.user` and `.item` files (Zhao et al. 2021); sequences are separated by blanks."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, source: Any) -> bool:
        """Return whether the name ends as atomic files do (gzip allowed)."""
        return isinstance(source, str | os.PathLike) and Path(os.fspath(source).removesuffix(".gz")).suffix in _ENDINGS

    def read(self, source: Any) -> pa.Table:
        """Return text columns, and lists for `_seq` columns.

        Raises:
            DataError: The file is damaged, or a header field has no type.
        """
        path = Path(source)
        check_file(path)
        table = read_csv(path, Limits())
        pairs = [_field(name, path) for name in table.column_names]
        columns = [_column(column, kind) for column, (_, kind) in zip(table.columns, pairs, strict=True)]
        return pa.Table.from_arrays(columns, names=[name for name, _ in pairs])


def _field(header: str, path: Path) -> tuple[str, str]:
    name, _, kind = header.rpartition(":")
    if not name or kind not in _TYPES:
        hint = f"write name:type with a type of {', '.join(_TYPES)}"
        raise DataError(f"header field {header!r} is not that of an atomic file", where=str(path), hint=hint)
    return name, kind


def _column(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if not kind.endswith("_seq"):
        return column
    parts = pc.split_pattern(pc.utf8_trim_whitespace(column.cast(pa.large_string())), " ")
    if kind == "token_seq":
        return parts
    return parts.cast(pa.large_list(pa.float32()))
