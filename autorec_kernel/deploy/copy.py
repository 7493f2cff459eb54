"""`copy_bundle`: a bundle at another place, as a folder or as one stored zip; whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from autorec_kernel.errors import InfrastructureError, UsageError
from autorec_kernel.files import atomic_write
from autorec_kernel.serving import open_bundle
from autorec_kernel.serving.archive import read_members, zip_bytes

if TYPE_CHECKING:
    from autorec_kernel.records.bundle import Bundle

__all__ = ["copy_bundle"]


def copy_bundle(source: Path, target: Path, *, require_digest: str = "") -> Bundle:
    """Write the bundle at `source` (folder or zip) to `target`, a zip if it is called so, and verify what was written.

    Raises:
        UsageError: Something is at `target` already.
        BundleError: The source is damaged, or has another content digest.
        InfrastructureError: It cannot be written.
    """
    if target.exists():
        raise UsageError("there is something already", where=str(target), hint="choose a path that does not exist")
    members = read_members(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, zip_bytes(members)) if target.suffix == ".zip" else _write_folder(target, members)
    except OSError as error:
        told = f"the bundle cannot be written: {error.strerror or error}"
        raise InfrastructureError(told, where=str(target), hint="choose another path") from error
    return open_bundle(target, require_digest=require_digest)


def _write_folder(target: Path, members: Mapping[str, bytes]) -> None:
    """Write beside the place and move there whole."""
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        partial.chmod(0o755)
        for name, data in members.items():
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_bytes(data)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
