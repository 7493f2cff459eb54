"""Where output goes: data to stdout (JSON, or a table that is plain when piped), everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["emit", "emit_json", "emit_table", "note", "report_error"]


def emit(text: str) -> None:
    """Write one line of data to stdout."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """Write a value to stdout as JSON; not-a-number is refused, so that every reader can parse it."""
    emit(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str))


def emit_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows to stdout: a fitted table on a terminal, aligned plain lines when piped."""
    if sys.stdout.isatty():
        _rich_table(headers, rows)
        return
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    for row in (headers, *rows):
        emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """Write one line of progress or advice to stderr."""
    sys.stderr.write(text + "\n")


def report_error(text: str, hint: str = "") -> None:
    """Write an error and its hint to stderr."""
    note(f"error: {text}" + (f"\nhint: {hint}" if hint else ""))


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


_STYLES = {"ok": "green", "unavailable": "yellow", "broken": "red", "disabled": "yellow", "blocked": "yellow"}
