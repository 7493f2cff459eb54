"""Every error the kernel raises on purpose: what was attempted, where, how to fix it, and the exit code of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

__all__ = [
    "AutoRecError",
    "BundleError",
    "ContractError",
    "DataError",
    "InfrastructureError",
    "InterruptedRun",
    "LeakError",
    "LimitsError",
    "PluginError",
    "SearchError",
    "UnknownNameError",
    "UsageError",
    "nearest",
]


class AutoRecError(Exception):
    """Base of all deliberate errors.

    Args:
        message: What was attempted, with which value, and what was expected.
        hint: The next thing to type; empty when there is none.
        where: File, row, column, trial or plugin concerned; empty when the message says it.
    """

    exit_code = 1
    code = "AR1000"

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\nhint: {self.hint}" if self.hint else head


class UsageError(AutoRecError):
    """An option, recipe key or argument is wrong (exit 2)."""

    exit_code = 2
    code = "AR2000"


class UnknownNameError(UsageError):
    """A name that nothing answers to; the hint offers the nearest one."""

    code = "AR2001"

    def __init__(self, what: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        close = nearest(name, known)
        super().__init__(f"no {what} is called {name!r}", hint=f"did you mean {close!r}?" if close else hint)


class DataError(AutoRecError):
    """The table cannot be used as it stands (exit 3)."""

    exit_code = 3
    code = "AR3000"


class LeakError(DataError):
    """A feature or a column knows what it cannot know when an answer is needed (exit 3)."""

    code = "AR3001"


class SearchError(AutoRecError):
    """The search ended without a usable trial (exit 4)."""

    exit_code = 4
    code = "AR4000"


class BundleError(AutoRecError):
    """A bundle was refused (exit 5)."""

    exit_code = 5
    code = "AR5000"


class PluginError(AutoRecError):
    """A plugin is missing, broken or breaks its contract (exit 6)."""

    exit_code = 6
    code = "AR6000"


class ContractError(PluginError):
    """A component returned something its contract forbids."""

    code = "AR6001"


class InfrastructureError(AutoRecError):
    """Disk, permission, lock or device trouble (exit 7)."""

    exit_code = 7
    code = "AR7000"


class LimitsError(AutoRecError):
    """No compression plan keeps to the limits of the target; the message has the closest one (exit 9).

    Args:
        shares: Limit → what is reached over what is allowed, above 1.
    """

    exit_code = 9
    code = "AR9000"

    def __init__(self, message: str, *, hint: str = "", where: str = "", shares: Mapping[str, float] | None = None) -> None:
        super().__init__(message, hint=hint, where=where)
        self.shares = dict(shares or {})


class InterruptedRun(AutoRecError):
    """The user stopped the run; it can be resumed (exit 130)."""

    exit_code = 130
    code = "AR1300"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None when nothing is close."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None
