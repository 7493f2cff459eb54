r"""One journal record as one line of bytes: strict canonical JSON behind a checksum that covers every other byte of the line.

    {"crc":"1f0c…8 hex","kind":"trial","seq":7,"trial":3,…,"v":1}\n

The first 18 bytes are the frame, the same in every format version; the CRC-32 is that of the bytes after them, up to the line end.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorec_kernel.errors import ContractError, InfrastructureError

__all__ = ["VERSION", "Damage", "Record", "Scan", "canonical_json", "decode", "encode", "plain", "scan"]

VERSION = 1
RESERVED = frozenset({"crc", "kind", "seq", "v"})
_HEAD, _JOINT = b'{"crc":"', b'",'

Record = dict[str, Any]


_read_json = json.JSONDecoder().decode


class _Unreadable(ValueError):
    """A line that is not what was written."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that cannot be trusted: its number from 1, byte offset, bytes with the line end, and what is wrong."""

    line: int
    offset: int
    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a journal file holds.

    Args:
        records: The good records, in order.
        size: Offset behind the last good line, bytes.
        damage: Damaged lines that good lines follow, or that no crash explains.
        tail: What a crash left behind the last good line.
    """

    records: list[Record]
    size: int
    damage: tuple[Damage, ...]
    tail: tuple[Damage, ...]


def canonical_json(value: Any) -> str:
    """Return strict JSON in one spelling: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode(seq: int, kind: str, payload: Mapping[str, Any]) -> bytes:
    """Return a record as one line.

    Raises:
        ContractError: The payload uses a reserved key or holds something that JSON has no form for.
    """
    taken = RESERVED & payload.keys()
    if taken:
        raise ContractError(f"a journal record of kind {kind!r} may not use the key {min(taken)!r}: the journal writes it")
    rest = canonical_json({**plain(payload, kind), "kind": kind, "seq": seq, "v": VERSION}).encode("ascii")[1:]
    return b"%s%08x%s%s\n" % (_HEAD, zlib.crc32(rest), _JOINT, rest)


def decode(line: bytes) -> Record:
    """Read one line without its line end.

    Raises:
        ValueError: Some byte differs from what was written.
        InfrastructureError: The line was written by a newer version.
    """
    rest = line[18:]
    if line[:8] != _HEAD or line[16:18] != _JOINT or line[8:16] != b"%08x" % zlib.crc32(rest):
        _refuse_newer(line)
        raise _Unreadable("the checksum does not match")
    record: Record = _read_json("{" + rest.decode("ascii"))
    _refuse_newer_record(record)
    if record.get("v") != VERSION or type(record.get("seq")) is not int or type(record.get("kind")) is not str:
        raise _Unreadable("it is no journal record")
    return record


def plain(value: Any, where: str) -> Any:
    """Return a value as JSON types; a float that is not finite becomes null, since JSON has no such number.

    Args:
        value: None, bool, int, float, str, numpy scalars and arrays, sequences, and mappings with text keys of these.
        where: Dotted path used in the error.

    Raises:
        ContractError: Something else is in it.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufU":
        return plain(value.tolist(), where)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): plain(part, f"{where}.{key}") for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(part, f"{where}[{place}]") for place, part in enumerate(value)]
    raise ContractError(
        f"{where} is of type {type(value).__name__}, which the journal cannot store", hint="pass plain JSON values with text keys"
    )


def scan(data: bytes, *, where: str) -> Scan:
    """Read a whole journal and tell apart good lines, a tail that a crash explains, and damage.

    Args:
        data: The file's bytes.
        where: Path named in errors.

    Raises:
        InfrastructureError: A line was written by a newer version.
    """
    records: list[Record] = []
    bad: list[Damage] = []
    offset, size, due, doubtful = 0, 0, 0, False
    for number, line in enumerate(_split(data), start=1):
        try:
            record = _decode_line(line, where, number)
            seq = record["seq"]
            if seq < due:
                raise _Unreadable(f"it is record {seq}, which was there before")
            if seq > due and not doubtful:
                bad.append(Damage(number, offset, b"", f"record {due} is missing before it"))
            records.append(record)
            size, due, doubtful = offset + len(line), seq + 1, False
        except ValueError as error:
            bad.append(Damage(number, offset, line, str(error)))
            doubtful = True
        offset += len(line)
    tail = tuple(damage for damage in bad if damage.offset >= size)
    tail = tail if _torn(tail) else ()
    return Scan(records, size, tuple(bad[: len(bad) - len(tail)]), tail)


def _split(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _decode_line(line: bytes, where: str, number: int) -> Record:
    if not line.endswith(b"\n"):
        raise _Unreadable("the line has no end")
    try:
        return decode(line[:-1])
    except InfrastructureError as error:
        raise InfrastructureError(error.message, hint=error.hint, where=f"{where}, line {number}") from None


def _torn(tail: tuple[Damage, ...]) -> bool:
    """Return whether a crash explains the tail: one last line, or blocks that a power cut left empty; never several whole lines."""
    return len(tail) == 1 or any(b"\0" in damage.data for damage in tail) or (len(tail) == 2 and not tail[1].data.endswith(b"\n"))


def _refuse_newer(line: bytes) -> None:
    """Refuse a line whose frame is wrong but whose content says that a newer version wrote it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(record, dict):
        _refuse_newer_record(record)


def _refuse_newer_record(record: Record) -> None:
    version = record.get("v")
    if isinstance(version, int) and version > VERSION:
        raise InfrastructureError(
            f"the journal has format {version}; this installation reads formats up to {VERSION}",
            hint="pip install --upgrade autorec-kernel",
        )
