"""`autorec export`: a bundle or a run through any installed exporter, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table, note
from autorec_kernel.cli.trust import Digest, Keys, required
from autorec_kernel.errors import AutoRecError, ContractError, InfrastructureError, PluginError, UsageError
from autorec_kernel.records.bundle import MANIFEST

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["export"]


def export(
    context: typer.Context,
    source: Annotated[
        Path | None, typer.Argument(help="Bundle (a folder or a stored zip), or the folder of a run.", metavar="SOURCE")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="What to write; --list names the formats.", metavar="NAME")] = "",
    to: Annotated[Path | None, typer.Option(help="Where: a path that is not there yet, or an empty folder.", metavar="PATH")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the formats of all plugins.")] = False,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a bundle or a run in another form.

    Try: autorec export run/bundle --format onnx --to exported
    """
    kernel = kernel_of(context)
    if listed:
        _list(kernel, as_json)
        return
    if source is None or to is None or not form:
        missing = [name for name, given in (("SOURCE", source), ("--format", form), ("--to", to)) if not given]
        hint = "autorec export run/bundle --format onnx --to exported; --list names formats"
        raise UsageError(f"an export needs {' and '.join(missing)} too", hint=hint)
    row = kernel.find("exporter", form)
    kernel.load("exporter", row.id)  # an exporter that cannot be used is told before anything is copied
    digest = required(context, source, require_digest, trust_key) if _is_bundle(source) else ""
    if not _is_bundle(source) and (require_digest is not None or trust_key):
        raise UsageError("a run has no digest and no signature", where=str(source), hint="name its bundle: RUN/bundle")
    write(kernel, row.id, source, to, digest)
    files = [path for path in (to, *to.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if as_json:
        emit_json({"format": row.id, "source": str(source), "out": str(to), "files": len(files), "bytes": size})
        return
    emit(str(to))
    note(f"{len(files)} files, {size:,} bytes")


def write(kernel: Kernel, exporter: str, source: Path, to: Path, require_digest: str = "") -> None:
    """Export into a folder beside `to`, and move it there whole. A bundle is handed over as a private copy that was verified.

    Args:
        exporter: Id of the exporter.
        require_digest: As for `open_bundle`.

    Raises:
        BundleError: The bundle is refused.
        InfrastructureError: `to` holds something, or cannot be written.
        PluginError: The exporter failed.
    """
    _check_target(to)
    fresh = [folder for folder in to.absolute().parents if not folder.exists()]
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as base:
            given = _copied(source, Path(base), require_digest) if _is_bundle(source) else source
            _called(kernel, exporter, given, Path(base) / "out")
            if to.is_dir():
                to.rmdir()
            os.rename(Path(base) / "out", to)
    except OSError as error:
        raise InfrastructureError(
            f"the export cannot be written: {error.strerror or error}", where=str(to), hint="choose another --to"
        ) from error
    finally:
        if not os.path.lexists(to):
            for folder in fresh:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _called(kernel: Kernel, exporter: str, source: Path, out: Path) -> None:
    try:
        kernel.load("exporter", exporter)(source, out)
    except (AutoRecError, OSError):
        raise
    except Exception as error:
        raise PluginError(f"it raised {type(error).__name__}: {error}", where=f"exporter {exporter!r}") from error
    if not out.exists():
        raise ContractError("it returned and wrote nothing", where=f"exporter {exporter!r}")


def _copied(source: Path, base: Path, require_digest: str) -> Path:
    from autorec_kernel.deploy.copy import copy_bundle

    name = (source.stem if source.is_file() else source.resolve().name) or "bundle"
    copy_bundle(source, base / "source" / name, require_digest=require_digest)
    return base / "source" / name


def _is_bundle(source: Path) -> bool:
    """Return whether this is a bundle, or nothing at all (which is then refused as one); other folders are runs."""
    return not source.is_dir() or (source / MANIFEST).exists()


def _check_target(to: Path) -> None:
    if os.path.lexists(to) and not to.is_dir():
        raise InfrastructureError("there is a file already", where=str(to), hint="choose a new path for --to")
    if to.is_dir() and any(to.iterdir()):
        raise InfrastructureError("the folder is not empty", where=str(to), hint="choose a new folder for --to")


def _list(kernel: Kernel, as_json: bool) -> None:
    rows = kernel.components("exporter")
    if as_json:
        emit_json(
            [{"format": row.id, "name": row.name, "status": row.status, "summary": row.summary, "install": row.install} for row in rows]
        )
        return
    lines = [(row.name, row.id, row.status, row.summary if row.usable else f"{row.reason}: {row.install}") for row in rows]
    emit_table(("FORMAT", "COMPONENT", "STATUS", "SUMMARY"), lines)
