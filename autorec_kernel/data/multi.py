"""Columns that hold several values a row: `Action|Comedy`, `a;b`, `["x", "y"]`, lists of numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.data.arrow import raw_column
from autorec_kernel.data.numbers import matches, parse_numbers, trimmed
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.table import Coded, Ragged, take_column

__all__ = ["as_vectors", "find_separator", "split_values"]

_SAMPLE = 20_000
_LIST = r"^[\[(].*[\])]$"


def find_separator(values: np.ndarray, counts: np.ndarray) -> str | None:
    """Return the separator of a multi-valued column: `|`, `;`, `,` or `json`; None when the column is single-valued.

    A separator counts when it stands in enough values and the parts between it recur, as categories do and the words of titles do not.

    Args:
        values: object [m], distinct strings.
        counts: int64 [m], rows of each.
    """
    if len(values) == 0:
        return None
    sample = values[:_SAMPLE]
    text = trimmed(sample)
    if matches(text, _LIST).all():
        return "json"
    if matches(text, r"^[+-]?\d+,\d+$").any() and matches(text, r"^[+-]?\d+(,\d+)?$").all():
        return None  # numbers with a decimal comma
    weights = counts[:_SAMPLE]
    for separator, share in (("|", 0.02), (";", 0.1), (",", 0.3)):
        holds = matches(text, "\\" + separator)
        enough = holds.sum() >= (1 if separator == "|" else 2) and weights[holds].sum() >= share * weights.sum()
        if enough and _recurs(sample, separator):
            return separator
    return None


def split_values(column: Coded, separator: str) -> Ragged:
    """Return the parts of every row, blanks around them removed, empty parts dropped; a missing value becomes the empty list."""
    parts = _parts(column.values, separator)
    lengths = np.asarray(pc.list_value_length(parts).to_numpy(zero_copy_only=False), dtype=np.int64)
    flat = raw_column(pc.dictionary_encode(pc.utf8_trim_whitespace(parts.flatten())))
    assert isinstance(flat, Coded)
    owner = np.repeat(np.arange(len(lengths)), lengths)[flat.codes >= 0]
    sizes = np.append(np.bincount(owner, minlength=len(lengths)), 0)
    distinct = Ragged(Coded(flat.codes[flat.codes >= 0], flat.values), offsets_of(sizes))
    rows = np.where(column.codes < 0, len(column.values), column.codes)
    taken = take_column(distinct, rows)
    assert isinstance(taken, Ragged)
    return taken


def as_vectors(column: Coded) -> np.ndarray | None:
    """Return float32 [n, d] when every value is a list of equally many numbers, at least one with a decimal point; else None."""
    if len(column.values) == 0 or not matches(pa.array(column.values[:100], pa.large_string()), r"\.").any():
        return None
    parts = _parts(column.values, "json")
    lengths = np.asarray(pc.list_value_length(parts).to_numpy(zero_copy_only=False))
    if len(lengths) == 0 or lengths.min() != lengths.max() or lengths[0] < 2:
        return None
    numbers, good = parse_numbers(np.asarray(parts.flatten().to_numpy(zero_copy_only=False), dtype=object))
    if not good.all():
        return None
    table = np.vstack([numbers.reshape(-1, int(lengths[0])), np.full((1, int(lengths[0])), np.nan)])
    return np.asarray(table[column.codes], dtype=np.float32)


def _parts(values: np.ndarray, separator: str) -> pa.LargeListArray:
    text = pa.array(values, pa.large_string())
    if separator == "json":
        bare = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^[\[(]\s*|\s*[\])]$", "")
        loose = pc.replace_substring_regex(bare, r"\s*,\s*|\s+", "\x1f") if not matches(bare, "['\"]").any() else _unquote(bare)
        return pc.split_pattern(loose, "\x1f")
    return pc.split_pattern(text, separator)


def _unquote(bare: pa.Array) -> pa.Array:
    """Separate quoted parts: a comma inside quotes stays."""
    between = pc.replace_substring_regex(bare, r"""(["'])\s*,\s*(["'])""", "\x1f")
    return pc.replace_substring_regex(between, r"""^\s*["']|["']\s*$""", "")


def _recurs(values: np.ndarray, separator: str) -> bool:
    parts = pc.utf8_trim_whitespace(_parts(values, separator).flatten())
    total, distinct = len(parts), pc.count_distinct(parts).as_py()
    words = pc.mean(pc.utf8_length(parts)).as_py()
    plain = separator != "," or words <= 24
    return bool(plain and distinct <= 0.7 * total)
