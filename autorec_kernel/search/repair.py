"""What can be saved of a damaged journal: first a report of what would be lost, then, when asked, the repair."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import atomic_write, quarantine
from autorec_kernel.search.lines import RESERVED, Damage, Scan, encode, scan
from autorec_kernel.search.lock import WriterLock

__all__ = ["RepairReport", "repair", "repair_report"]


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair keeps and drops.

    Args:
        path: The journal.
        kept: Number of good records.
        dropped: Lines that cannot be trusted, and places where a record is missing (without bytes).
    """

    path: Path
    kept: int
    dropped: tuple[Damage, ...]

    def describe(self) -> tuple[str, ...]:
        """Return one printable line per dropped line, with the beginning of what it holds."""
        return tuple(
            f"line {damage.line} ({len(damage.data)} bytes at byte {damage.offset}): {damage.reason}: {damage.data[:80]!r}"
            for damage in self.dropped
        )


def repair_report(path: str | os.PathLike[str]) -> RepairReport:
    """Return what `repair` would drop; nothing is changed.

    Raises:
        InfrastructureError: The journal cannot be read, or a newer version wrote it.
    """
    return _report(Path(path), _scan(Path(path)))


def repair(path: str | os.PathLike[str]) -> RepairReport:
    """Keep the good records of a damaged journal, numbered anew; the damaged file is kept in `quarantine/`.

    Trials that were dropped are evaluated again when the run is resumed.

    Raises:
        InfrastructureError: A run is writing the journal, or the disk fails.
    """
    target = Path(path)
    lock = WriterLock(target)
    try:
        found = _scan(target)
        report = _report(target, found)
        if report.dropped:
            quarantine(target, target.read_bytes(), "damaged")
            atomic_write(target, b"".join(_renumbered(found)))
        return report
    finally:
        lock.release()


def _scan(path: Path) -> Scan:
    try:
        return scan(path.read_bytes(), where=str(path))
    except OSError as error:
        raise InfrastructureError(f"could not read the journal: {error.strerror}", where=str(path)) from error


def _report(path: Path, found: Scan) -> RepairReport:
    return RepairReport(path, len(found.records), found.damage + found.tail)


def _renumbered(found: Scan) -> list[bytes]:
    return [
        encode(seq, record["kind"], {key: value for key, value in record.items() if key not in RESERVED})
        for seq, record in enumerate(found.records)
    ]
