"""The interface of CoreRec's NASRec over the project's own search: `from autorec_nasrec import NASRec`, and nothing else changes."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return `NASRec`; it is imported when it is used."""
    if name != "NASRec":
        raise AttributeError(name)
    from autorec_nasrec.model import NASRec

    return NASRec


def __dir__() -> list[str]:
    return sorted({*globals(), "NASRec"})
