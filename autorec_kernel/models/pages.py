"""Memory kept between training steps: every step asks for the same blocks, and fresh pages cost more than what is computed in them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_pages"]

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_KEPT, _MAPPED = 1 << 28, 1 << 25  # bytes: free memory that stays; blocks from this size on are mapped one by one, the C library's bound
_TRIM_AFTER, _MAP_AFTER = 1 << 26, 1 << 25


@contextmanager
def kept_pages() -> Iterator[None]:
    """Let the C library keep up to 256 MiB of free memory for a while, and return it afterwards; does nothing where it is not glibc."""
    library = _library()
    if library is None:
        yield
        return
    library.mallopt(_TRIM, _KEPT)
    library.mallopt(_MAP, _MAPPED)
    try:
        yield
    finally:
        library.mallopt(_TRIM, _TRIM_AFTER)
        library.mallopt(_MAP, _MAP_AFTER)
        library.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # no handle of the process itself, as on Windows
        return None
    return library if all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim")) else None
