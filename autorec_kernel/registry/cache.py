"""The user's cache folder, and the store of probe verdicts in it. Without a writable place everything still works, uncached."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["load_verdicts", "store_verdicts", "user_cache_dir"]

_FILE = "probes.json"
_VERSION = 2
_KEPT = 500
_LARGEST = 4 << 20


def user_cache_dir() -> Path | None:
    """Return a writable folder of this user, made when it is missing; None when there is none.

    The platform's cache folder (`XDG_CACHE_HOME` is honoured), else a private folder below the temporary directory.
    """
    for folder in (_platform_folder(), Path(tempfile.gettempdir()) / f"autorec-{_user()}"):
        if folder is not None and _usable(folder):
            return folder
    return None


def load_verdicts() -> dict[str, dict[str, Any]]:
    """Return what is stored, by fingerprint; empty when there is nothing or it is damaged."""
    folder = user_cache_dir()
    try:
        if folder is None or (folder / _FILE).stat().st_size > _LARGEST:
            return {}
        stored = json.loads((folder / _FILE).read_text("utf-8"))
        verdicts = stored["verdicts"] if stored["v"] == _VERSION else {}
        return {str(key): dict(value) for key, value in verdicts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def store_verdicts(new: Mapping[str, Mapping[str, Any]]) -> None:
    """Add verdicts, the newest kept; a failure to write is of no consequence but time."""
    folder = user_cache_dir()
    if folder is None or not new:
        return
    merged = load_verdicts() | {key: {**value, "at": time.time()} for key, value in new.items()}
    kept = dict(sorted(merged.items(), key=lambda item: (float(item[1].get("at", 0)), item[0]))[-_KEPT:])
    _replace(folder, json.dumps({"v": _VERSION, "verdicts": kept}))


def _replace(folder: Path, text: str) -> None:
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, folder / _FILE)
    except OSError:
        return


def _platform_folder() -> Path | None:
    stated = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    if stated and Path(stated).is_absolute():
        return Path(stated) / "autorec"
    home = Path(os.path.expanduser("~"))
    if not home.is_dir():
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "autorec"


def _usable(folder: Path) -> bool:
    """Whether the folder is ours alone to write to: a planted one could vouch for a plugin that was never probed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return False
    foreign = hasattr(os, "getuid") and (facts.st_uid != os.getuid() or bool(facts.st_mode & 0o022))
    return folder.is_dir() and not folder.is_symlink() and not foreign and os.access(folder, os.W_OK)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
