"""`Limits`: how large a source may be before it is refused (a compressed file can grow a thousandfold)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes above which a source is refused.

    Args:
        table_bytes: Decompressed bytes of one table.
        row_bytes: Bytes of one line of a text file.
        columns: Columns of one table.
    """

    table_bytes: int = 4 << 30
    row_bytes: int = 16 << 20
    columns: int = 4096
