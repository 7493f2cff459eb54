"""`Violation`, an assertion about somebody's component, and `Skipped`, raised by a check that cannot be run on it."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Skipped", "Violation", "demand", "violated"]


class Violation(AssertionError):
    """A component breaks a law of its contract; the message says which, with which input, and what was expected."""


class Skipped(Exception):
    """A check cannot be run on this component; the message says why. It is no verdict."""


def demand(holds: object, message: str) -> None:
    """Raise `Violation` unless `holds`."""
    if not holds:
        raise Violation(message)


def violated(message: str) -> NoReturn:
    """Raise `Violation`."""
    raise Violation(message)
