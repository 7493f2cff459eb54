"""How much memory a worker and what it has started hold, and how much each worker may hold."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["MemoryWatch", "default_cap"]

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SLOW, _FAST = 0.25, 0.05  # seconds between two looks: far from the cap, and near it
_SCAN = 8  # looks between two searches for child processes, which read the whole process table


def default_cap(workers: int, share: float) -> int:
    """Return the bytes each of `workers` may hold when together they may take `share` of what is free."""
    free = min([psutil.virtual_memory().available, *_container_limits()])
    return int(free * share / workers)


class MemoryWatch:
    """Looks at the resident memory of a process and its descendants.

    Args:
        cap: Bytes; 0 = no limit.
    """

    def __init__(self, pid: int, cap: int) -> None:
        self.cap = cap
        self.peak = 0
        self._pid = pid
        self._looks = 0
        self._family: list[psutil.Process] = []

    @property
    def interval(self) -> float:
        """Return the seconds until the next look."""
        return _FAST if self.cap and self.peak > self.cap / 2 else _SLOW

    @property
    def near(self) -> bool:
        """Return whether the peak came so near the cap that a kill from outside is taken for the system's out-of-memory killer."""
        return bool(self.cap) and self.peak > 0.8 * self.cap

    def exceeded(self) -> bool:
        """Look once; return whether the cap is exceeded. Pages shared between processes count once where the system can tell."""
        if self._looks % _SCAN == 0:
            self._family = _family(self._pid)
        self._looks += 1
        used = sum(_resident(process) for process in self._family)
        if self.cap and used > self.cap:
            used = sum(_proportional(process) for process in _family(self._pid))
        self.peak = max(self.peak, used)
        return bool(self.cap) and used > self.cap


def _container_limits() -> list[int]:
    texts = [Path(name).read_text(encoding="ascii").strip() for name in _LIMITS if Path(name).exists()]
    return [int(text) for text in texts if text.isdigit()]


def _family(pid: int) -> list[psutil.Process]:
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    """Return resident bytes with each shared page divided by its number of users; resident bytes where the system cannot tell."""
    try:
        return int(getattr(process.memory_full_info(), "pss", 0)) or _resident(process)
    except psutil.Error:
        return _resident(process)
