"""The one-line form of an exception that a plugin let out, and the guard at the plugin border."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TypeVar

__all__ = ["describe", "guarded"]

T = TypeVar("T")


def guarded(call: Callable[[], T]) -> tuple[T | None, str]:
    """Call plugin code; whatever it raises but KeyboardInterrupt becomes a reason.

    Returns:
        The result and an empty reason, or None and the reason.
    """
    try:
        return call(), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and the like of one plugin must not end the host
        return None, describe(error)


def describe(error: BaseException) -> str:
    """Return type, message and, where the message lacks it, the place of an error in one line."""
    text = " ".join(str(error).split())
    place = "" if isinstance(error, SyntaxError) else _place(error)
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(__file__)
    theirs = [frame for frame in frames if not frame.filename.startswith((own, "<frozen")) and "importlib" not in frame.filename]
    return f" ({os.path.basename(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
