"""Whom a command trusts: the options `--require-digest` and `--trust-key`, and what they ask of the bundle that it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.errors import BundleError, UsageError

__all__ = ["Digest", "Keys", "required"]

Digest = Annotated[str | None, typer.Option(help="Refuse any bundle but the one with this content digest.", metavar="SHA256")]
Keys = Annotated[list[Path] | None, typer.Option(help="Refuse a bundle that none of these public keys signed (repeatable).", metavar="PEM")]


def required(context: typer.Context, bundle: Path, digest: str | None, keys: list[Path] | None) -> str:
    """Return what `open_bundle` must require: of a signed bundle the very manifest whose signature was checked here.

    Raises:
        UsageError: The digest is empty, as that of an unset variable; or a key cannot be read.
        PluginError: No plugin checks signatures.
        BundleError: None of the keys signed the bundle.
    """
    if digest is not None and not digest.strip():
        raise UsageError("--require-digest is empty and would accept any bundle", hint="autorec bundle inspect BUNDLE prints a digest")
    return f"{digest or ''} {_signed(context, bundle, keys)}".strip() if keys else digest or ""


def _signed(context: typer.Context, bundle: Path, keys: list[Path]) -> str:
    kernel = kernel_of(context)
    kernel.require("signature")
    refused: list[BundleError] = []
    for row in [row for row in kernel.components("signature") if row.usable]:
        try:
            return f"manifest:{kernel.load('signature', row.id)(bundle, keys)}"
        except BundleError as error:
            refused.append(error)
    raise refused[0]
