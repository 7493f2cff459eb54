"""Text that means a number: parsed a column at a time, over its distinct values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.records.table import Coded

__all__ = ["MISSING_TOKENS", "first_row", "is_missing_token", "matches", "parse_integers", "parse_numbers", "trimmed", "whole_text"]

# What people write for "no value" in columns of numbers and times. Ids are never read this way: a user may be called NA.
MISSING_TOKENS = ("", "-", "?", "#n/a", "\\n", "n/a", "na", "nan", "nil", "none", "null", "<na>")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^[+-]?(inf|infinity)$"


def trimmed(values: np.ndarray) -> pa.Array:
    """Return the strings as arrow text without blanks around them."""
    return pc.utf8_trim_whitespace(pa.array(values, pa.large_string()))


def is_missing_token(values: np.ndarray) -> np.ndarray:
    """Return bool [m]: which strings stand for a missing value."""
    lower = pc.utf8_lower(trimmed(values))
    return np.asarray(pc.is_in(lower, value_set=pa.array(MISSING_TOKENS, pa.large_string())).to_numpy(zero_copy_only=False))


def parse_numbers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read strings as numbers with a decimal point.

    Args:
        values: object [m] of str.

    Returns:
        float64 [m], NaN where missing or not a number; bool [m], False where the string is neither a number nor a missing token.
    """
    text = trimmed(values)
    number = matches(text, _NUMBER)
    infinite = matches(pc.utf8_lower(text), _INFINITE)
    out = np.full(len(values), np.nan)
    chosen = pc.if_else(pa.array(number), text, pa.scalar(None, pa.large_string()))
    out[number] = pc.cast(pc.drop_null(pc.replace_substring_regex(chosen, r"^\+", "")), pa.float64()).to_numpy(zero_copy_only=False)
    if infinite.any():
        out[infinite] = [-np.inf if str(value).strip().startswith("-") else np.inf for value in values[infinite]]
    return out, number | infinite | is_missing_token(values)


def parse_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 [m] (0 where not) and bool [m]: which strings are whole numbers of at most 18 digits, exactly read."""
    text = trimmed(values)
    whole = matches(text, r"^[+-]?\d{1,18}$")
    out = np.zeros(len(values), dtype=np.int64)
    chosen = pc.drop_null(pc.if_else(pa.array(whole), text, pa.scalar(None, pa.large_string())))
    out[whole] = pc.cast(pc.replace_substring_regex(chosen, r"^\+", ""), pa.int64()).to_numpy(zero_copy_only=False)
    return out, whole


def whole_text(values: np.ndarray) -> np.ndarray:
    """Return object [m]: numbers as text; whole ones without a decimal point (a column of ids with gaps arrives as floats)."""
    if values.dtype != np.float64:
        return np.array([str(value) for value in values.tolist()], dtype=object)
    return np.array([str(int(v)) if np.isfinite(v) and v == np.floor(v) else repr(v) for v in values.tolist()], dtype=object)


def first_row(column: Coded, bad: np.ndarray) -> int:
    """Return the number (1 = first data row) of the first row whose value is marked in bool [m], 0 when there is none."""
    hits = np.flatnonzero(np.append(bad, False)[column.codes])
    return int(hits[0]) + 1 if len(hits) else 0


def matches(text: pa.Array, pattern: str) -> np.ndarray:
    """Return bool [m]: which strings the regular expression (RE2) matches."""
    return np.asarray(pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False), dtype=bool)
