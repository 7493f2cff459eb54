"""A tiny process that outlives its parent by a moment: when the parent is gone, it kills the process groups it was told of.

It is started by path and without site packages, so it imports nothing but the standard library. A worker that hangs while it holds the
interpreter's lock cannot watch its parent itself, and what a trial has started would live on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

__all__ = ["watch"]


def watch(lines: Iterable[bytes]) -> None:
    """Read `+group` and `-group` lines until they end, then kill the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line[:1] == b"+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(iter(sys.stdin.buffer.readline, b""))
