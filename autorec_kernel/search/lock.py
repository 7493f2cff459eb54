"""One writer per journal: an operating-system lock that dies with its process, and a note that says who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import atomic_write

__all__ = ["WriterLock"]


class WriterLock:
    """The right to write one file, held from construction to `release`.

    The lock of a process that died is free at once; its note is then replaced.

    Args:
        path: The file to be written; `<path>.lock` and `<path>.owner` stand beside it.

    Raises:
        InfrastructureError: Another process writes the file (its id, host and start are named), or the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._note = path.with_name(path.name + ".owner")
        self._lock = FileLock(path.with_name(path.name + ".lock"), timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise _busy(path, _read(self._note)) from None
        except (OSError, NotImplementedError) as error:
            raise InfrastructureError(
                f"could not lock the file: {error}", where=str(path), hint="choose a folder on a local disk that you may write to"
            ) from error
        try:
            atomic_write(self._note, json.dumps(_me()).encode())
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Give the right back; a second call does nothing."""
        if not self._lock.is_locked:
            return
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)
        self._lock.release()


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _read(note: Path) -> dict[str, Any]:
    """Return who holds the lock; the note may be missing for a moment."""
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _busy(path: Path, owner: dict[str, Any]) -> InfrastructureError:
    pid, host, since = (owner.get(name, "unknown") for name in ("pid", "host", "since"))
    return InfrastructureError(
        f"another run is writing here: process {pid} on {host} since {since}",
        where=str(path),
        hint="wait until it ends, stop it, or choose another --out folder",
    )
