"""All checks by name: `check_*(component, config, kernel=None)` returns when the law holds and raises `Violation` when it does not."""

from __future__ import annotations

import importlib
from typing import Any

from autorec_kernel.testing.table import HOMES

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
