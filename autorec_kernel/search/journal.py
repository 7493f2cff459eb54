"""`Journal`: the append-only record of a run and its only source of truth; what was acknowledged survives any crash."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import quarantine, sync_directory
from autorec_kernel.search.equality import canonical_records, compare
from autorec_kernel.search.lines import Damage, Record, decode, encode, scan
from autorec_kernel.search.lock import WriterLock

__all__ = ["Journal", "canonical_records", "compare", "read_journal"]

logger = logging.getLogger(__name__)

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PATIENCE = 0.05  # seconds: trials longer than this are flushed one by one, shorter ones together


class Journal:
    """A journal that this process may write. Use `open`; close it, or use it in a `with` statement.

    Appending is one write of one line. A line that could not be written whole is taken back, so that the file stays valid. Threads may
    append at the same time.
    """

    def __init__(self, path: Path, descriptor: int, records: list[Record], *, lock: WriterLock, fsync_each: bool | Literal["auto"]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = lock
        self._records = records
        self._size = os.fstat(descriptor).st_size
        self._fsync_each = fsync_each
        self._clock: Callable[[], float] = time.monotonic
        self._flushed_at = -float("inf")
        self._unflushed = False
        self._trouble = ""
        self._mutex = threading.RLock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, fsync_each: bool | Literal["auto"] = "auto") -> Self:
        """Open a journal for writing, or begin one; its folder is made if need be.

        What a crash left behind the last whole line is cut off, kept in `quarantine/` beside the journal, and reported by one warning.

        Args:
            path: The journal file.
            fsync_each: True: every record is on disk when `append` returns. False: when `flush` or `close` return. "auto": a record is
                flushed at once unless the last flush was less than 50 ms ago.

        Raises:
            InfrastructureError: Another process writes it, it is damaged before its end, a newer version wrote it, or the disk fails.
        """
        target = Path(path)
        with _explained("open the journal", target):
            target.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(target)
        try:
            with _explained("open the journal", target):
                return cls(target, *_recover(target), lock=lock, fsync_each=fsync_each)
        except BaseException:
            lock.release()
            raise

    def append(self, kind: str, /, **payload: Any) -> Record:
        """Write one record and return it as a reader will see it.

        Args:
            kind: What the record is, for example `trial`. Kinds that begin with `session` tell of the process, not of the result.
            payload: JSON values (numpy scalars and arrays are converted, floats that are not finite become null).

        Raises:
            ContractError: The payload holds something that JSON has no form for, or a reserved key (v, seq, crc, kind).
            InfrastructureError: The disk is full or failing; the journal is as it was before.
        """
        with self._mutex:
            self._check_usable()
            seq = self._records[-1]["seq"] + 1 if self._records else 0
            line = encode(seq, kind, payload)
            record = decode(line[:-1])
            self._write(line, record)
            if self._fsync_each is True or (self._fsync_each == "auto" and self._clock() - self._flushed_at >= _PATIENCE):
                self.flush()
            return record

    def records(self) -> tuple[Record, ...]:
        """Return every record, oldest first; they are not to be changed."""
        with self._mutex:
            return tuple(self._records)

    def flush(self) -> None:
        """Return when everything appended so far is on disk: at the end of every batch.

        Raises:
            InfrastructureError: The disk failed. The journal refuses further records: after a failed flush, what is on disk is unknown.
        """
        with self._mutex:
            if not self._unflushed:
                return
            self._check_usable()
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._trouble = f"an earlier flush failed: {error.strerror}"
                raise _disk_trouble("flush the journal", self.path, error) from error
            self._unflushed, self._flushed_at = False, self._clock()

    def close(self) -> None:
        """Flush and give the journal back; a second call does nothing."""
        with self._mutex:
            if self._descriptor < 0:
                return
            try:
                if not self._trouble:
                    self.flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check_usable(self) -> None:
        if self._descriptor < 0:
            raise InfrastructureError("the journal is closed", where=str(self.path))
        if self._trouble:
            raise InfrastructureError(f"the journal takes no more records: {self._trouble}", where=str(self.path), hint="open it again")

    def _write(self, line: bytes, record: Record) -> None:
        """Write a line and remember its record: both, or neither, even when a signal arrives in between."""
        count, size = len(self._records), self._size
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes fitted")
            self._records.append(record)
            self._size = size + written
            self._unflushed = True
        except BaseException as error:
            self._take_back(count, size)
            if isinstance(error, OSError):
                raise _disk_trouble("append to the journal", self.path, error) from error
            raise

    def _take_back(self, count: int, size: int) -> None:
        del self._records[count:]
        self._size = size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._trouble = f"a half-written record could not be taken back: {error.strerror}"


def read_journal(path: str | os.PathLike[str]) -> tuple[Record, ...]:
    """Return a journal's records without locking or changing it; a half-written last line is passed over.

    Raises:
        InfrastructureError: It cannot be read, is damaged before its end, or was written by a newer version.
    """
    target = Path(path)
    with _explained("read the journal", target):
        found = scan(target.read_bytes(), where=str(target))
    if found.damage:
        raise _damaged(target, found.damage)
    return tuple(found.records)


def _recover(path: Path) -> tuple[int, list[Record]]:
    """Return a descriptor for appending and the records, after cutting a torn tail."""
    data = path.read_bytes() if path.exists() else b""
    found = scan(data, where=str(path))
    if found.damage:
        raise _damaged(path, found.damage)
    descriptor = os.open(path, _FLAGS, 0o666)
    try:
        if found.tail:
            kept = quarantine(path, data[found.size :], f"byte{found.size}")
            os.ftruncate(descriptor, found.size)
            logger.warning("%s: %d bytes of a half-written record were cut off and kept in %s", path, len(data) - found.size, kept)
        os.fsync(descriptor)
        sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found.records


def _damaged(path: Path, damage: tuple[Damage, ...]) -> InfrastructureError:
    first = damage[0]
    more = f" ({len(damage) - 1} more)" if len(damage) > 1 else ""
    return InfrastructureError(
        f"the journal is damaged: {first.reason}{more}",
        where=f"{path}, line {first.line}",
        hint=f"autorec doctor --repair {path.parent} lists what would be dropped",
    )


def _disk_trouble(doing: str, path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"could not {doing}: {error.strerror or error}",
        where=str(path),
        hint="check free space and permissions; the records written before are safe and the run can be resumed",
    )


class _explained:
    """Turns operating-system errors into one that says what was attempted."""

    def __init__(self, doing: str, path: Path) -> None:
        self._doing, self._path = doing, path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError):
            raise _disk_trouble(self._doing, self._path, error) from error
