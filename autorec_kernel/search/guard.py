"""The boundary to a strategy: whatever it raises becomes an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autorec_kernel.errors import AutoRecError, PluginError

__all__ = ["guarded"]


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Run a strategy's code.

    Args:
        doing: What it does, for the message.

    Raises:
        PluginError: It raised anything but an error of the kernel.
    """
    try:
        yield
    except AutoRecError:
        raise
    except Exception as error:
        raise PluginError(
            f"the search strategy raised {type(error).__name__} while {doing}: {error}",
            hint="try another one with --strategy; the journal keeps every result",
        ) from error
