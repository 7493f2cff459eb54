"""The kernel that checks look components up in: the one that is handed over, else the installed plugins."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from autorec_kernel.kernel import Kernel

__all__ = ["host"]


def host(kernel: Any) -> Any:
    """Return `kernel`, or a kernel of everything installed when it is None."""
    return _installed() if kernel is None else kernel


@lru_cache(maxsize=1)
def _installed() -> Kernel:
    return Kernel.discover()
