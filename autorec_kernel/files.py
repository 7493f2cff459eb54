"""Files that are either the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from autorec_kernel.errors import InfrastructureError

__all__ = ["atomic_write", "quarantine", "remove_unfinished", "sync_directory"]


def atomic_write(path: str | os.PathLike[str], data: bytes) -> Path:
    """Replace a file's content in one step that survives a crash and a power cut.

    The bytes go to a temporary file in the same folder, which is flushed to disk, renamed over `path`, and the folder is flushed.

    Args:
        path: File to write; its folder must exist.
        data: The whole new content.

    Returns:
        The path that was written.

    Raises:
        InfrastructureError: The disk is full, read-only or failing; the old content is still there and no temporary file is left.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        _write_new(temporary, data)
        os.replace(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        raise InfrastructureError(
            f"could not write {len(data)} bytes: {error.strerror or error}",
            where=str(target),
            hint="free some space or check the permissions of the folder; the previous content is unchanged",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete what `atomic_write` left in a folder and below it when its process was killed; only for whoever alone writes there."""
    for path in sorted(Path(folder).rglob(".*.tmp")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def sync_directory(folder: str | os.PathLike[str]) -> None:
    """Flush a folder's entries to disk; does nothing where folders cannot be opened (Windows).

    Raises:
        OSError: The flush failed.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quarantine(path: str | os.PathLike[str], data: bytes, reason: str) -> Path:
    """Keep bytes that were found wrong: in `quarantine/` beside the file they come from, under a name of their own.

    Args:
        path: The file they come from.
        data: The bytes.
        reason: A word for the name, for example `damaged`.

    Returns:
        `quarantine/<name>.<number>.<reason>`.

    Raises:
        InfrastructureError: The folder cannot be made or written.
    """
    source = Path(path)
    folder = source.parent / "quarantine"
    try:
        folder.mkdir(exist_ok=True)
        number = sum(1 for found in folder.iterdir() if found.name.startswith(f"{source.name}."))
    except OSError as error:
        raise InfrastructureError(f"could not open the quarantine: {error.strerror or error}", where=str(folder)) from error
    return atomic_write(folder / f"{source.name}.{number}.{reason}", data)


def _write_new(path: Path, data: bytes) -> None:
    """Create a file that must not exist yet, write all bytes and flush them; the process umask decides its mode."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
