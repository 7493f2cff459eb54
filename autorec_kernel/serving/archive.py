"""Reading the members of a bundle into memory: a closed folder, or one stored zip in its single legal byte form. Nothing is extracted."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from autorec_kernel.errors import BundleError
from autorec_kernel.records.bundle import MANIFEST, MAX_JSON_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, MAX_TOTAL_BYTES, check_name

__all__ = ["read_manifest", "read_members", "zip_bytes"]

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_DATE = (1 << 5) | 1  # 1980-01-01, the earliest a zip can say
_FOLDERS = ("golden", "tables")


def read_members(path: Path) -> dict[str, bytes]:
    """Read every member of a bundle.

    Args:
        path: A bundle folder or a stored zip.

    Returns:
        Name → bytes, in order of name. Names are legal, distinct and free of links; nothing is hashed yet.

    Raises:
        BundleError: Something is there that a bundle does not hold, or a limit is exceeded.
    """
    if not path.exists():
        raise BundleError("there is no bundle here", where=str(path), hint="name the folder that `autorec run` wrote: OUT/bundle")
    if path.is_dir() and not (path / MANIFEST).exists():
        own = path / "bundle"
        hint = f"name the run's bundle: {own}" if (own / MANIFEST).is_file() else "`autorec run` writes one: OUT/bundle"
        raise BundleError(f"this folder is no bundle: {MANIFEST!r} is missing", where=str(path), hint=hint)
    members = _read_folder(path) if path.is_dir() else _parse_zip(_read_file(path, MAX_TOTAL_BYTES), str(path))
    if MANIFEST not in members:
        raise BundleError(f"member {MANIFEST!r} is missing", where=str(path))
    return members


def read_manifest(path: Path) -> bytes:
    """Read the bytes of the manifest alone; nothing of a bundle is parsed but the frame of a zip.

    Raises:
        BundleError: There is none, or it is no plain file of a fair size.
    """
    return _read_file(path / MANIFEST, MAX_JSON_BYTES) if path.is_dir() else read_members(path)[MANIFEST]


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """Return the one stored zip that holds these members: sorted by name, fixed dates, no extras, no comment.

    Raises:
        BundleError: Together they exceed what a plain zip holds.
    """
    body: list[bytes] = []
    central: list[bytes] = []
    offset = 0
    for name in sorted(members):
        check_name(name)
        data = members[name]
        body += [_local_header(name, data), data]
        central.append(_central_header(name, data, offset))
        offset += len(body[-2]) + len(data)
        if offset > MAX_TOTAL_BYTES:
            raise BundleError(f"the members exceed {MAX_TOTAL_BYTES} bytes")
    return b"".join([*body, *central, _end_record(len(members), sum(map(len, central)), offset)])


def _read_folder(folder: Path) -> dict[str, bytes]:
    names: list[str] = []
    for entry in _scan(folder):
        if entry.is_dir(follow_symlinks=False) and entry.name in _FOLDERS:
            names += [f"{entry.name}/{inner.name}" for inner in _scan(Path(entry.path))]
        else:
            names.append(entry.name)
    return _read_all(folder, names)


def _scan(folder: Path) -> Iterable[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = sorted((entry for entry, _ in zip(entries, range(MAX_MEMBERS + 1), strict=False)), key=lambda entry: entry.name)
    if len(found) > MAX_MEMBERS:
        raise BundleError(f"more than {MAX_MEMBERS} members", where=str(folder))
    return found


def _read_all(folder: Path, names: list[str]) -> dict[str, bytes]:
    if len(names) > MAX_MEMBERS:
        raise BundleError(f"{len(names)} members, at most {MAX_MEMBERS} are read", where=str(folder))
    members: dict[str, bytes] = {}
    left = MAX_TOTAL_BYTES
    for name in sorted(names):
        check_name(name)
        members[name] = _read_file(folder / name, min(left, MAX_MEMBER_BYTES))
        left -= len(members[name])
    return members


def _read_file(path: Path, limit: int) -> bytes:
    """Read a regular, singly linked file without following a link and without waiting on a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise BundleError("a link or special file stands where a member should be", where=str(path))
        descriptor = os.open(path, flags)
    except OSError as error:
        raise BundleError(f"member {path.name!r} cannot be opened: {error.strerror}", where=str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise BundleError("a link or special file stands where a member should be", where=str(path))
        if facts.st_size > limit:
            raise BundleError(f"{facts.st_size} bytes, at most {limit} are read", where=str(path))
        return file.read(facts.st_size)  # a number of bytes is set aside before it is read: never ask for the limit


def _parse_zip(blob: bytes, where: str) -> dict[str, bytes]:
    """Walk the zip from its first byte; every header must be the one that `zip_bytes` writes, so nothing hides, overlaps or trails."""
    if not blob.startswith(b"PK"):
        raise BundleError("this file is no bundle: it is no zip", where=where, hint="name what `autorec run` wrote: OUT/bundle")
    members: dict[str, bytes] = {}
    central: list[bytes] = []
    offset = 0
    while blob[offset : offset + 4] == b"PK\x03\x04":
        name, data = _member_at(blob, offset)
        if members and name <= max(members):
            raise BundleError(f"zip member {name!r} is repeated or out of order")
        central.append(_central_header(name, data, offset))
        members[name] = data
        offset += _LOCAL.size + len(name) + len(data)
        if len(members) > MAX_MEMBERS:
            raise BundleError(f"more than {MAX_MEMBERS} members")
    tail = b"".join([*central, _end_record(len(members), sum(map(len, central)), offset)])
    if blob[offset:] != tail:
        raise BundleError(
            "the zip is not in the form that bundles are packed in", where=where, hint="pack the folder with `autorec bundle pack`"
        )
    return members


def _member_at(blob: bytes, offset: int) -> tuple[str, bytes]:
    try:
        fields = _LOCAL.unpack_from(blob, offset)
    except struct.error:
        raise BundleError("the zip ends inside a header") from None
    size, length = fields[8], fields[9]
    start = offset + _LOCAL.size + length
    name = blob[offset + _LOCAL.size : start].decode("ascii", "backslashreplace")
    check_name(name)
    data = blob[start : start + size]
    if len(data) != size or blob[offset:start] != _local_header(name, data):
        raise BundleError(f"zip member {name!r} is damaged, compressed or carries extra fields")
    return name, data


def _local_header(name: str, data: bytes) -> bytes:
    text = name.encode("ascii")
    return _LOCAL.pack(b"PK\x03\x04", 20, 0, 0, 0, _DATE, zlib.crc32(data), len(data), len(data), len(text), 0) + text


def _central_header(name: str, data: bytes, offset: int) -> bytes:
    text, made, mode = name.encode("ascii"), (3 << 8) | 20, (stat.S_IFREG | 0o644) << 16
    sizes = (zlib.crc32(data), len(data), len(data), len(text), 0, 0, 0, 0, mode, offset)
    return _CENTRAL.pack(b"PK\x01\x02", made, 20, 0, 0, 0, _DATE, *sizes) + text


def _end_record(count: int, size: int, offset: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, size, offset, 0)
