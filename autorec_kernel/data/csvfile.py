"""CSV and TSV files, plain or gzip: every column as text, nothing guessed, so that ids keep their exact spelling."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from autorec_kernel.data.faults import explain_fault, open_quote
from autorec_kernel.data.limits import Limits
from autorec_kernel.data.stream import head, open_watched
from autorec_kernel.errors import DataError

__all__ = ["read_csv", "sniff"]

_SAMPLE = 1 << 18
_DELIMITERS = (",", "\t", ";", "|")
_EXCEL = re.compile(rb'"?sep=([^\w\s"\\\x80-\xff]|\t)"?(?:\r\n|\r|\n)', re.IGNORECASE)  # the first line that tells Excel the delimiter
_TEXT = pa.dictionary(pa.int32(), pa.string())


def read_csv(path: Path, limits: Limits) -> pa.Table:
    """Read a text table; every column becomes dictionary-encoded strings, an empty field the empty string.

    Raises:
        DataError: Wrong encoding, NUL bytes, rows of unequal length, open quotes, truncated gzip, sizes over the limits, no header;
            the message names line or byte, the hint the remedy.
    """
    sample = head(path, _SAMPLE)
    if not sample.strip():
        raise DataError("the file is empty", where=str(path), hint="expected a header line and at least one row")
    said = _EXCEL.match(sample)
    body = sample[said.end() :] if said else sample
    _refuse_comments(path, body)
    delimiter = said.group(1).decode() if said else sniff(sample)
    names = _header(path, body, delimiter, limits)
    try:
        return _parse(path, delimiter, names, limits, skip=1 if said else 0)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise explain_fault(path, delimiter, limits, str(error)) from None


def sniff(sample: bytes) -> str:
    """Return the delimiter of a text table: the candidate that splits the header and most of the first lines into equally many fields."""
    lines = [line for line in sample.decode("utf-8", "replace").splitlines() if line.strip()][:50]
    scores = {delimiter: _agreement(lines[:-1] if len(lines) > 2 else lines, delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best] > (0.0, 0) else ","


def _refuse_comments(path: Path, sample: bytes) -> None:
    """Refuse comment lines above the header; one `#` line with as many fields as the line below is a header itself."""
    lines = [line for line in sample.decode("utf-8", "replace").splitlines() if line.strip()][:1000]
    count = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    rest = lines[count:]
    delimiter = sniff("\n".join(rest).encode()) if rest else ","
    if count == 0 or (count == 1 and rest and lines[0].count(delimiter) == rest[0].count(delimiter)):
        return
    told = f"the file begins with {count} comment {'line' if count == 1 else 'lines'} ({lines[0][:40]!r}), expected column names"
    fix = f"grep -v '^#' {path.name} > NEW.csv"
    raise DataError(told, where=str(path), hint=f"remove what stands above the column names: {fix} (names behind a # lose it first)")


def _agreement(lines: list[str], delimiter: str) -> tuple[float, int]:
    try:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        widths = [line.count(delimiter) + 1 for line in lines]
    if not widths or widths[0] < 2:
        return (0.0, 0)
    return (sum(width == widths[0] for width in widths) / len(widths), widths[0])


def _header(path: Path, sample: bytes, delimiter: str, limits: Limits) -> list[str]:
    text = sample.decode("utf-8", "replace").lstrip("\r\n")
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        raise explain_fault(path, delimiter, limits, "the header line cannot be read") from None
    if not names:
        raise DataError("there is no header line", where=str(path), hint="expected column names and at least one row")
    if len(names) > limits.columns:
        raise DataError(f"{len(names):,} columns; at most {limits.columns:,} are read", where=str(path), hint="keep the columns you need")
    if names and all(_looks_like_data(name) for name in names):
        message = f"the first line looks like data ({', '.join(names[:4])}), expected column names"
        raise DataError(message, where=str(path), hint="add a header line, for example: user_id,item_id,rating,timestamp")
    if len(names) == 1 and "::" in names[0]:
        told, fix = "fields are separated by '::', which is not a CSV delimiter", "sed 's/::/\\t/g' FILE > NEW.tsv"
        raise DataError(told, where=str(path), hint=f"{fix}, and add a header line")
    return names


def _looks_like_data(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return name.strip().lower() not in ("nan", "inf", "infinity")


def _parse(path: Path, delimiter: str, names: list[str], limits: Limits, skip: int) -> pa.Table:
    told: list[Any] = []
    with open_watched(path, limits) as stream:
        table = arrow_csv.read_csv(
            stream,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=limits.row_bytes, skip_rows=skip),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=_refuse(told)),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, _TEXT), null_values=[], strings_can_be_null=False, check_utf8=True
            ),
        )
        odd = stream.quotes % 2 == 1
    if told:
        raise explain_fault(path, delimiter, limits, f"a row has {told[0][1]} fields, the header has {told[0][0]}")
    if odd and (fault := open_quote(path, delimiter, limits)) is not None:
        raise fault
    return table


def _refuse(told: list[Any]) -> Any:
    def handler(row: Any) -> str:
        told.append((row.expected_columns, row.actual_columns))
        return "error" if told else "skip"

    return handler
