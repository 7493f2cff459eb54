"""Bytes of a text table: opened with gzip undone, and watched for what no table holds (NUL bytes, endless size, other encodings)."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from autorec_kernel.data.limits import Limits
from autorec_kernel.errors import DataError, InfrastructureError, nearest

__all__ = ["WatchedStream", "check_file", "head", "open_bytes", "open_watched"]

_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"\xff\xfe": ("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW.csv"),
    b"\xfe\xff": ("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW.csv"),
    b"BZh": ("bzip2 compressed", "unpack it with bunzip2, or compress it with gzip"),
    b"\x28\xb5\x2f\xfd": ("zstd compressed", "unpack it with unzstd, or compress it with gzip"),
    b"\xfd7zXZ": ("xz compressed", "unpack it with unxz, or compress it with gzip"),
    b"\x89HDF": ("an HDF5 file", "export the table as CSV or Parquet"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
}


def check_file(path: Path) -> None:
    """Refuse what is not a readable regular file, without opening it (a pipe would block).

    Raises:
        DataError: Missing (the nearest name of the folder is offered), a folder or a device.
        InfrastructureError: It exists and may not be read.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path), hint=_near_file(path)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"the path cannot be used: {error}", where=str(path), hint="check the spelling of the path") from None
    if stat.S_ISDIR(mode):
        raise DataError("this is a folder, a table is one file", where=str(path), hint=_tables_in(path))
    if not stat.S_ISREG(mode):
        raise DataError("this is not a regular file (a pipe or a device)", where=str(path), hint="write the table to a file first")
    if not os.access(path, os.R_OK):
        raise InfrastructureError("permission to read the file is missing", where=str(path), hint=f"chmod u+r {path}")


def head(path: Path, size: int) -> bytes:
    """Return the first `size` decompressed bytes, without a byte order mark."""
    with open_bytes(path) as stream, damaged_gzip(path):
        return stream.read(size).removeprefix(_BOM)


def open_bytes(path: Path) -> BinaryIO:
    """Open the file with gzip undone (recognised by its first bytes, not by its name).

    Raises:
        DataError: It is compressed or encoded in another way; the hint says how to convert it.
    """
    with path.open("rb") as raw:
        magic = raw.read(16)
    if magic.startswith(_GZIP):
        return cast(BinaryIO, gzip.open(path, "rb"))
    for signature, (what, fix) in _FOREIGN.items():
        if magic.startswith(signature):
            raise DataError(f"this is {what}; tables are read as UTF-8 CSV, TSV or Parquet", where=str(path), hint=fix)
    return path.open("rb")


@contextmanager
def damaged_gzip(path: Path) -> Iterator[None]:
    """Turn what the gzip module raises on a damaged file into a `DataError`."""
    try:
        yield
    except EOFError:
        told = "the gzip file is truncated: it ends before its end marker"
        raise DataError(told, where=str(path), hint="copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"the gzip file is damaged: {error}", where=str(path), hint="copy or download it again") from None


class WatchedStream:
    """A readable stream that counts and checks what passes (line and byte of the first fault are named).

    `quotes` is the number of double quotes so far; `bytes` and `lines` count what was read.
    """

    def __init__(self, stream: BinaryIO, path: Path, limits: Limits) -> None:
        self._stream, self._path, self._limits = stream, path, limits
        self._pending = stream.read(len(_BOM)).removeprefix(_BOM)
        self.bytes = self.lines = self.quotes = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        with damaged_gzip(self._path):
            chunk = self._pending + self._stream.read(size - len(self._pending) if size > len(self._pending) else size)
        self._pending = b""
        self._check(chunk)
        self.bytes += len(chunk)
        self.lines += chunk.count(b"\n")
        self.quotes += chunk.count(b'"')
        return chunk

    def close(self) -> None:
        self._stream.close()
        self.closed = True

    def _check(self, chunk: bytes) -> None:
        if self.bytes + len(chunk) > self._limits.table_bytes:
            message = f"the table is larger than {self._limits.table_bytes:,} bytes when decompressed"
            raise DataError(message, where=str(self._path), hint="split the file, or give it as Parquet")
        if (at := chunk.find(b"\0")) >= 0:
            line = self.lines + chunk.count(b"\n", 0, at) + 1
            message = f"NUL byte at line {line}, byte {self.bytes + at}: this is not a text table"
            raise DataError(message, where=str(self._path), hint="if it is UTF-16, convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW.csv")


@contextmanager
def open_watched(path: Path, limits: Limits) -> Iterator[WatchedStream]:
    """Open a text file for reading under the limits."""
    with open_bytes(path) as raw, damaged_gzip(path):
        yield WatchedStream(raw, path, limits)


def _near_file(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = nearest(path.name, names)
    if close:
        return f"did you mean {str(folder / close)!r}?"
    return "check the spelling of the path" if folder.is_dir() else f"the folder {str(folder)!r} does not exist"


def _tables_in(folder: Path) -> str:
    endings = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(endings))[:3] if os.access(folder, os.R_OK) else []
    return f"name a file in it, for example {str(folder / names[0])!r}" if names else "name a CSV, TSV or Parquet file"
