"""Memory-mapped arrays: letting go of what was read of them."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["let_go"]


def let_go(arrays: Iterable[Any]) -> None:
    """Let go of the pages of memory-mapped arrays: they stay in the system's file cache, and count no longer as this process's memory."""
    for array in arrays:
        while isinstance(array, np.ndarray):
            array = array.base
        if isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.madvise(mmap.MADV_DONTNEED)
