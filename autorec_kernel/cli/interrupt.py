"""Signals that end a run: the first one stops it cleanly, a second one (or ten seconds) at once, also while compiled code is busy."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

__all__ = ["stoppable"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 10.0  # seconds between the first signal and the end of the process, whatever it is busy with
_INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def stoppable(hint: Callable[[], str], *, patience: float = _PATIENCE) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into `KeyboardInterrupt`, once; what comes after that ends the process with code 130.

    A thread reads the signals as the system delivers them, so a long call into compiled code cannot keep the process alive. In threads
    other than the main one, which get no signals, nothing is changed. After a signal the process is expected to end: the handlers stay.

    Args:
        hint: Returns what is printed when the process is ended at once: how to go on.
        patience: Seconds that a clean stop may take.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup stays in force
    handlers = {number: signal.signal(number, _interrupt) for number in handled}
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    voice = _Voice(sys.stderr, hint)  # the stream of now: libraries redirect sys.stderr for a while
    watcher = threading.Thread(target=_watch, args=(reader, frozenset(handled), voice, patience), daemon=True)
    watcher.start()
    interrupted = False
    try:
        yield
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, _leave_quietly if interrupted else handler)
        writer.close()
        watcher.join(1.0)
        reader.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread; a later signal waits for nobody, because the watcher ends the process."""
    signal.signal(number, _ignore)
    raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    """Leave a further signal to the watcher."""


def _leave_quietly(number: int, frame: FrameType | None) -> None:
    """End a process that is ending."""
    os._exit(_INTERRUPTED)


class _Voice:
    """Says things on a stream that may be gone."""

    def __init__(self, stream: TextIO, hint: Callable[[], str]) -> None:
        self._stream, self._hint = stream, hint

    def say(self, text: str) -> None:
        """Write a line."""
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a terminal that is gone must not keep the process alive
            return

    def leave(self) -> None:
        """End the process without another word of Python: worker processes end with it, and the journal holds what was finished."""
        cursor = _SHOW_CURSOR if self._stream.isatty() else ""
        self.say(f"{cursor}stopped at once; what is finished is kept\nhint: {self._hint()}")
        os._exit(_INTERRUPTED)


def _watch(reader: socket.socket, handled: frozenset[int], voice: _Voice, patience: float) -> None:
    if not _signalled(reader, handled):
        return
    voice.say("stopping; what is finished is kept (Ctrl-C again stops at once)")
    reader.settimeout(patience)
    try:
        if not _signalled(reader, handled):
            return
    except TimeoutError:
        voice.say(f"the run did not stop within {patience:g} s")
    voice.leave()


def _signalled(reader: socket.socket, handled: frozenset[int]) -> bool:
    """Wait for one of the signals; False when there is nobody to wait for any more."""
    while data := reader.recv(1):
        if data[0] in handled:
            return True
    return False
