"""Arrow columns to the raw columns of a `Table`: the one place that knows arrow types.

Raw columns: `Coded` text; int64, bool and float64 arrays as they were typed; datetime64[ns] in UTC; float32 [n, d]; `Ragged`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.errors import DataError
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.table import Coded, ColumnData, Ragged

__all__ = ["from_arrow", "raw_column"]


def from_arrow(table: pa.Table) -> tuple[dict[str, ColumnData], dict[str, str]]:
    """Return (name -> raw column, name -> why it was left out)."""
    columns: dict[str, ColumnData] = {}
    refused: dict[str, str] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        left_out = (field.metadata or {}).get(b"left out", b"").decode()
        if re.match(r"@|\.\w", field.name):
            left_out = f"names that begin with {field.name[0]!r} are the program's own; rename the column to use it"
        raw = None if left_out else raw_column(column)
        if raw is None:
            refused[field.name] = left_out or f"values of type {column.type} are not read"
        else:
            columns[field.name] = raw
    return columns, refused


def raw_column(column: pa.ChunkedArray | pa.Array) -> ColumnData | None:
    """Return the raw column, or None when its type is not read."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):  # more text than one arrow array can hold
        return None
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _coded(column) if _is_text(kind.value_type) else raw_column(column.dictionary_decode())
    if _is_text(kind):
        return _coded(pc.dictionary_encode(column))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column)
    return _scalars(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _scalars(column: pa.Array) -> ColumnData | None:
    kind = column.type
    if pa.types.is_null(kind):
        return Coded(np.full(len(column), -1, np.int32), np.array([], dtype=object))
    if pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return _whole(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _times(column)
    if pa.types.is_duration(kind):
        spans = np.asarray(column.cast(pa.duration("ns")).to_numpy(zero_copy_only=False)).astype("timedelta64[ns]")
        return np.asarray(spans / np.timedelta64(1, "s"), dtype=np.float64)
    return _as_text(column)


def _whole(column: pa.Array) -> ColumnData | None:
    wide = pa.types.is_uint64(column.type) and (pc.max(column).as_py() or 0) >= 2**63
    if column.null_count or wide:
        return _as_text(column)
    values: np.ndarray = np.asarray(column.to_numpy(zero_copy_only=False))
    return values if values.dtype == np.bool_ else values.astype(np.int64)


def _times(column: pa.Array) -> np.ndarray:
    try:
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))
        zone = getattr(column.type, "tz", None)
        values = column.cast(pa.timestamp("ns", tz=zone)).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise DataError("a time lies outside the years 1678 to 2261", hint="write such times as missing") from None
    return np.asarray(values).astype("datetime64[ns]")


def _as_text(column: pa.Array) -> Coded | None:
    try:
        return _coded(pc.dictionary_encode(column.cast(pa.large_string())))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _coded(column: pa.DictionaryArray) -> Coded:
    codes = np.asarray(column.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
    values = np.asarray(column.dictionary.to_numpy(zero_copy_only=False), dtype=object)
    return _distinct(codes, values)


def _distinct(codes: np.ndarray, values: np.ndarray) -> Coded:
    """Merge repeated dictionary values; the empty string and null become missing."""
    distinct = set(values)
    if len(distinct) == len(values) and "" not in distinct and None not in distinct:
        return Coded(codes, values)
    index: dict[Any, int] = {}
    recode = np.empty(len(values) + 1, dtype=np.int32)
    recode[-1] = -1
    recode[:-1] = [-1 if value is None or value == "" else index.setdefault(value, len(index)) for value in values]
    kept = np.empty(len(index), dtype=object)
    kept[:] = list(index)
    return Coded(recode[codes], kept)


def _lists(column: Any) -> ColumnData | None:
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.large_list(column.type.value_type))
    lengths = np.asarray(pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    offsets = offsets_of(lengths)
    inner = column.flatten()
    if pa.types.is_floating(inner.type):
        return _vectors(np.asarray(inner.cast(pa.float32()).to_numpy(zero_copy_only=False), dtype=np.float32), lengths, offsets)
    if pa.types.is_nested(inner.type) or pa.types.is_boolean(inner.type):
        return None
    values = raw_column(inner) if _is_text(inner.type) or pa.types.is_dictionary(inner.type) else _as_text(inner)
    return Ragged(values, offsets) if isinstance(values, Coded) else None


def _vectors(values: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> ColumnData:
    filled = lengths[lengths > 0]
    if len(filled) == 0 or filled.min() != filled.max():
        return Ragged(values, offsets)
    out = np.full((len(lengths), int(filled[0])), np.nan, dtype=np.float32)
    out[lengths > 0] = values.reshape(-1, int(filled[0]))
    return out
