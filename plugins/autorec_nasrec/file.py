"""A saved NASRec: one zip with a verified bundle and a few facts as JSON, whatever the file is called."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autorec_kernel.errors import BundleError
from autorec_kernel.files import atomic_write
from autorec_kernel.serving.archive import read_members, zip_bytes

__all__ = ["Facts", "read_file", "write_file"]

_FACTS, _BUNDLE = "nasrec.json", "bundle.zip"
_LARGEST = 1 << 32  # bytes of a bundle


@dataclass(frozen=True, slots=True)
class Facts:
    """What a bundle does not say.

    Args:
        span: Least and largest rating of training.
        whole_items: Whether all item ids of training were whole numbers.
        held_out: User → items whose ratings the run kept for its test: the bundle does not know that they were seen.
    """

    name: str
    span: tuple[float, float]
    whole_items: bool
    held_out: Mapping[str, list[str]] = field(default_factory=dict)


def write_file(path: Path, facts: Facts, bundle: Path) -> None:
    """Write the file, whole or not at all."""
    told = {"name": facts.name, "span": list(facts.span), "whole_items": facts.whole_items, "held_out": dict(facts.held_out)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_FACTS), json.dumps(told))
        archive.writestr(zipfile.ZipInfo(_BUNDLE), zip_bytes(read_members(bundle)))
    atomic_write(path, file.getvalue())


def read_file(path: Path, folder: Path) -> tuple[Facts, Path]:
    """Return the facts, and the bundle's own file in `folder`.

    Raises:
        BundleError: There is no such file, or it holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != sorted((_FACTS, _BUNDLE)) or archive.getinfo(_BUNDLE).file_size > _LARGEST:
                raise BundleError("this is no file that NASRec.save wrote", where=str(path))
            told = json.loads(archive.read(_FACTS))
            (folder / _BUNDLE).write_bytes(archive.read(_BUNDLE))
        low, high = told["span"]
        held_out = {str(user): [str(item) for item in items] for user, items in told["held_out"].items()}
        return Facts(str(told["name"]), (float(low), float(high)), bool(told["whole_items"]), held_out), folder / _BUNDLE
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"this is no file that NASRec.save wrote: {error}", where=str(path)) from error
