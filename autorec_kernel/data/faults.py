"""Where a text table is broken: the slow second look that finds the line to name, run only after the fast reader has failed."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import cast

from autorec_kernel.data.limits import Limits
from autorec_kernel.data.stream import WatchedStream, open_watched
from autorec_kernel.errors import DataError

__all__ = ["explain_fault", "open_quote"]


def explain_fault(path: Path, delimiter: str, limits: Limits, told: str) -> DataError:
    """Return the error that names line, byte and remedy of the first fault; `told` is what the fast reader said."""
    with open_watched(path, limits) as stream:
        fault = _encoding_fault(stream, path)
    if fault is not None:
        return fault
    with open_watched(path, limits) as stream:
        return _row_fault(stream, path, delimiter) or DataError(told, where=str(path), hint="check the file around the place named")


def open_quote(path: Path, delimiter: str, limits: Limits) -> DataError | None:
    """Return the error of a quoted field that never ends, or None."""
    with open_watched(path, limits) as stream:
        line = 1
        reader = csv.reader(_text(stream), delimiter=delimiter, strict=True)
        try:
            for _ in reader:
                line = reader.line_num + 1
        except csv.Error as error:
            return _quote_error(path, line) if "expected after" not in str(error) else _stray_quote(path, reader.line_num)
    return None


def _encoding_fault(stream: WatchedStream, path: Path) -> DataError | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, byte = 1, 0
    while True:
        chunk = stream.read(1 << 20)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = max(error.start - pending, 0)
            row = line + chunk.count(b"\n", 0, at)
            place = f"line {row}, byte {byte - pending + error.start}"
            hint = "convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW.csv (or name its real encoding)"
            return DataError(f"the text is not valid UTF-8 at {place}", where=str(path), hint=hint)
        if not chunk:
            return None
        line += chunk.count(b"\n")
        byte += len(chunk)


def _row_fault(stream: WatchedStream, path: Path, delimiter: str) -> DataError | None:
    reader = csv.reader(_text(stream), delimiter=delimiter)
    width, line = 0, 1
    try:
        for row in reader:
            told_excel = line == 1 and bool(row) and row[0].lower().startswith("sep=")
            width = width or (0 if told_excel else len(row))
            if row and not told_excel and len(row) != width:
                return _ragged(path, line, len(row), width, delimiter, reader.line_num)
            line = reader.line_num + 1
    except csv.Error:
        return _quote_error(path, line)
    return None


def _ragged(path: Path, line: int, found: int, width: int, delimiter: str, last: int) -> DataError:
    if last > line + 1:
        return _quote_error(path, line)
    message = f"line {line} has {found} fields, the header has {width}"
    hint = f"quote fields that contain {delimiter!r}, or remove the extra {delimiter!r}" if found > width else "complete or remove the line"
    return DataError(message, where=str(path), hint=hint)


def _quote_error(path: Path, line: int) -> DataError:
    message = f"a quoted field that begins on line {line} never ends"
    return DataError(message, where=str(path), hint='close the quote, or write a literal quote as "" inside a quoted field')


def _stray_quote(path: Path, line: int) -> DataError:
    message = f"line {line}: text follows the closing quote of a field; a quote opened near there is not closed"
    return DataError(message, where=str(path), hint='close the quote, or write a literal quote as "" inside a quoted field')


def _text(stream: WatchedStream) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(_Raw(stream)), encoding="utf-8", errors="replace", newline="")


class _Raw(io.RawIOBase):
    """The raw face of a watched stream, which the text layer of the standard library needs."""

    def __init__(self, stream: WatchedStream) -> None:
        super().__init__()
        self._inner = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        chunk = self._inner.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)
