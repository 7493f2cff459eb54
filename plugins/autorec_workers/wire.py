"""Messages between processes: a length of eight bytes, then that many bytes of JSON. Nothing that is received is ever executed."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

__all__ = ["LIMIT", "receive", "send"]

LIMIT = 64 * 2**20  # bytes of one message; an evaluation is a few kilobytes
_HEADER = struct.Struct(">Q")


def send(descriptor: int, value: Any) -> None:
    """Write one message.

    Raises:
        ValueError: The value is longer than `LIMIT` or holds a number that JSON has no form for.
        TypeError: The value holds something else that JSON has no form for.
        OSError: Nobody reads.
    """
    data = json.dumps(value, allow_nan=False).encode()
    if len(data) > LIMIT:
        raise ValueError(f"a message of {len(data)} bytes is longer than {LIMIT}")
    rest = memoryview(_HEADER.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int) -> Any:
    """Wait for one message; None when the other side is gone, also in the middle of a message.

    Raises:
        ValueError: What came is no message.
    """
    header = _read(descriptor, _HEADER.size)
    if header is None:
        return None
    (length,) = _HEADER.unpack(header)
    if length > LIMIT:
        raise ValueError(f"a message of {length} bytes was announced; the longest is {LIMIT}")
    data = _read(descriptor, length)
    return None if data is None else json.loads(data)


def _read(descriptor: int, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = os.read(descriptor, min(count, 2**20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
