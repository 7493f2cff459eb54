"""Dated values: texts behind the Unix second from which they are known (`@1138537770 dentist`), in lists of the kind `dated`."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["NEVER", "dated_parts"]

NEVER = 2**63 - 1  # ns
_FORM = re.compile(r"@(-?(?:\d{1,9}|[1-8]\d{9})) (.*)", re.DOTALL)


def dated_parts(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return int64 [m] moments (ns) and the texts of values, object [m] of str; what has no date is never known."""
    found = [_FORM.fullmatch(value) for value in values]
    moments = [int(one.group(1)) * 10**9 if one else NEVER for one in found]
    return np.array(moments, dtype=np.int64), [one.group(2) if one else "" for one in found]
