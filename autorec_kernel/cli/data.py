"""`autorec data inspect`: what the kernel understands of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table
from autorec_kernel.errors import UsageError

if TYPE_CHECKING:
    from autorec_kernel.data import Inspection

__all__ = ["app", "parse_options", "parse_pairs"]

app = typer.Typer(no_args_is_help=True, help="Show what is understood of a table.")


@app.callback()
def _group() -> None:
    """Show what is understood of a table."""


@app.command("inspect")
def inspect_table(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="CSV, TSV or Parquet file (plain or gzip), or what a reader plugin opens.", metavar="FILE")],
    users: Annotated[str | None, typer.Option(help="Table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Table with one row an item.", metavar="FILE")] = None,
    task: Annotated[str | None, typer.Option(help="recommend, rate or click; default: the first that is possible.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Overrule a role (repeatable).", metavar="COLUMN=ROLE")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Overrule a kind (repeatable).", metavar="COLUMN=KIND")] = None,
    protocol: Annotated[str | None, typer.Option(help="given, temporal, leave-one-out or random.")] = None,
    positive_threshold: Annotated[float | None, typer.Option(help="Label at or above which a row is positive.")] = None,
    deduplicate: Annotated[str | None, typer.Option(help="none or last: what happens to repeated (user, item) pairs.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random split.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print roles and kinds with their reasons, rows dropped, possible tasks, the protocol and warnings; run nothing."""
    from autorec_kernel.data import inspect

    options: dict[str, Any] = {
        "task": task,
        "roles": parse_pairs("--role", role or ()),
        "kinds": parse_pairs("--kind", kind or ()),
        "protocol": protocol,
        "positive_threshold": positive_threshold,
        "deduplicate": deduplicate,
        "seed": seed,
    }
    found = inspect(file, users=users, items=items, kernel=kernel_of(context), **options)
    emit_json(found.to_json()) if as_json else _print(found)
    if found.problem is not None:
        raise found.problem


def parse_pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """Return column -> value of words `COLUMN=VALUE`; a column name may hold `=`.

    Raises:
        UsageError: A word has no `=`.
    """
    for word in words:
        if "=" not in word:
            example = "user" if option == "--role" else "text"
            raise UsageError(f"{option} {word!r} is not COLUMN=VALUE", hint=f"for example: {option} my_column={example}")
    return {column: value for column, _, value in (word.rpartition("=") for word in words)}


def parse_options(option: str, words: Sequence[str]) -> dict[str, Any]:
    """Return name -> value of words `NAME=JSON`; what is no JSON is a text.

    Raises:
        UsageError: A word has no `=`.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            example = "zoo/deepfm." if option == "--fix" else ""
            raise UsageError(f"{option} {word!r} is not NAME=JSON", hint=f"for example: {option} {example}embedding_dim=32")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found


def _print(found: Inspection) -> None:
    emit(f"{found.source}: {', '.join(f'{count:,} rows of {name}' for name, count in found.rows.items())}")
    emit("")
    headers = ("TABLE", "COLUMN", "ROLE", "KIND", "MISSING", "DISTINCT", "REASON")
    rows = [
        (c.source, _plain(c.name), c.role, c.kind, f"{c.missing:.1%}", f"{c.distinct:,}" if c.distinct else "", _plain(c.reason))
        for c in found.schema.columns
    ]
    emit_table(headers, rows)
    emit("")
    for line in _summary(found):
        emit(line)


def _summary(found: Inspection) -> list[str]:
    lines = [f"dropped: {count:,} rows ({reason})" for reason, count in found.dropped.items()]
    lines += [f"task {task}: {_plain(missing) or 'possible'}" for task, missing in found.tasks.items()]
    if found.counts:
        lines.append(f"under task {found.task}: " + ", ".join(f"{count:,} {name}" for name, count in found.counts.items()))
    if found.protocol is not None:
        lines.append(f"protocol: {found.protocol.id} ({found.protocol.reason})")
    return lines + [f"note: {_plain(note)}" for note in found.notes]


def _plain(text: str) -> str:
    """Return one line without control characters, so that a value of the table cannot steer the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)
