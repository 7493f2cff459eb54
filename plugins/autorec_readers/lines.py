"""Text tables without a header line: numbers behind any separator, texts by a pattern; and lists of dated values for side tables."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from autorec_kernel.data.stream import check_file, open_bytes
from autorec_kernel.errors import DataError

__all__ = ["content", "dated_lists", "left_out", "plain_table", "text_table"]

_TEXT = pa.dictionary(pa.int32(), pa.string())
_AGAIN = "copy or unpack the file again"


def content(path: Path) -> bytes:
    """Return the bytes of a file with gzip undone.

    Raises:
        DataError: Missing, empty, or compressed in another way.
    """
    check_file(path)
    with open_bytes(path) as stream:
        try:
            found = stream.read()
        except (EOFError, OSError) as error:
            raise DataError(f"the gzip file is damaged: {error}", where=str(path), hint=_AGAIN) from None
    if not found.strip():
        raise DataError("the file is empty", where=str(path), hint=_AGAIN)
    return found


def plain_table(path: Path, separator: bytes, types: dict[str, pa.DataType | None]) -> pa.Table:
    """Return rows of numbers and ids.

    Args:
        separator: Between the fields; no field holds it, or a tab.
        types: Column name → arrow type, in order; None = text.

    Raises:
        DataError: A line has another number of fields, or a field is no number.
    """
    data = content(path).replace(separator, b"\t")
    try:
        return arrow_csv.read_csv(
            io.BytesIO(data),
            read_options=arrow_csv.ReadOptions(column_names=list(types), use_threads=False),
            parse_options=arrow_csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=arrow_csv.ConvertOptions(column_types={name: kind or _TEXT for name, kind in types.items()}),
        )
    except pa.ArrowInvalid as error:
        told = f"expected {separator.decode()!r} between {', '.join(types)}: {str(error).splitlines()[0][:200]}"
        raise DataError(told, where=str(path), hint=_AGAIN) from None


def text_table(path: Path, pattern: str) -> pa.Table:
    """Return text columns, one a named group of the pattern; UTF-8, or Latin-1 where it is not.

    Raises:
        DataError: A line does not fit the pattern; the first one is named.
    """
    data = content(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line for line in re.split(r"\r?\n", text) if line]
    found = pc.extract_regex(pa.array(lines, pa.large_string()), pattern)
    wrong = np.flatnonzero(np.asarray(found.is_null().to_numpy(zero_copy_only=False)))
    if len(wrong):
        told = f"line {wrong[0] + 1} is not like the others of such a file: {lines[wrong[0]][:60]!r}"
        raise DataError(told, where=str(path), hint=_AGAIN)
    return pa.Table.from_arrays(found.flatten(), names=[found.type.field(place).name for place in range(found.type.num_fields)])


def dated_lists(keys: pa.ChunkedArray, of: pa.ChunkedArray, seconds: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.Array:
    """Return list<string>, one list a key, of what was said of it (`@SECONDS text`), oldest first.

    Args:
        keys: Ids of the table that the lists belong to.
        of, seconds, texts: Whose each text is, and since when; what names no key, no time or no text is left out.
    """
    place = pc.index_in(of.cast(pa.string()), value_set=keys.cast(pa.string()).combine_chunks())
    clock = seconds.cast(pa.string()).cast(pa.int64())
    kept = np.asarray(pc.and_(place.is_valid(), pc.and_(clock.is_valid(), texts.is_valid())).to_numpy())
    owner = np.asarray(place.fill_null(0).to_numpy())[kept]
    moment = np.asarray(clock.fill_null(0).to_numpy())[kept]
    said = np.asarray(texts.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)[kept]
    order = np.lexsort((moment, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(keys)))])
    entries = [f"@{second} {text}" for second, text in zip(moment[order].tolist(), said[order], strict=True)]
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(entries, pa.large_string()))


def left_out(table: pa.Table, reasons: dict[str, str]) -> pa.Table:
    """Return the table with columns that are shown with a reason and hold nothing."""
    for name, reason in reasons.items():
        if name not in table.column_names:
            table = table.append_column(pa.field(name, pa.null(), metadata={"left out": reason}), pa.nulls(table.num_rows))
    return table
