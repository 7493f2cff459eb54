"""`Violation`: the one error of the conformance kit, an assertion about somebody's component."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Violation", "demand", "violated"]


class Violation(AssertionError):
    """A component breaks a law of its contract; the message says which, with which input, and what was expected."""


def demand(holds: object, message: str) -> None:
    """Raise `Violation` unless `holds`."""
    if not holds:
        raise Violation(message)


def violated(message: str) -> NoReturn:
    """Raise `Violation`."""
    raise Violation(message)
