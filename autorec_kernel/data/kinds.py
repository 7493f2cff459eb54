"""Kind inference: what the values of a feature column are, and why the reader thinks so; and the conversion to that kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.data.multi import as_vectors, find_separator, split_values
from autorec_kernel.data.names import CATEGORY_WORDS, TIME_WORDS, words
from autorec_kernel.data.numbers import first_row, matches, parse_numbers, trimmed
from autorec_kernel.data.profile import Profile, as_coded
from autorec_kernel.data.times import parse_times
from autorec_kernel.errors import DataError
from autorec_kernel.records.dated import NEVER, dated_parts
from autorec_kernel.records.schema import Kind
from autorec_kernel.records.table import Coded, ColumnData, Ragged

__all__ = ["Verdict", "convert", "infer_kind", "to_numbers"]

_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"


class Verdict(NamedTuple):
    """A kind and the sentence that explains it; `use` is False when the column carries nothing."""

    kind: Kind
    reason: str
    use: bool = True


def infer_kind(name: str, column: ColumnData, facts: Profile) -> Verdict:
    """Decide the kind of one feature column from its type, its values and its name, in this order."""
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return Verdict("vector", f"lists of {column.shape[1]} numbers each")
    if isinstance(column, Ragged):
        coded = isinstance(column.values, Coded)
        if coded and _all_dated(column):
            return Verdict("dated", "lists of values, each with the moment from which it is known")
        return Verdict("multi", "lists of values") if coded else Verdict("vector", "lists of numbers of unequal length are not used", False)
    if facts.distinct == 0:
        return Verdict("categorical", "every value is missing", False)
    if facts.distinct == 1 and facts.missing == 0:
        return Verdict("categorical", f"constant: every value is {_shown(facts)}", False)
    typed = isinstance(column, np.ndarray) and column.dtype.kind in "Mb"
    if typed:
        dates = isinstance(column, np.ndarray) and column.dtype.kind == "M"
        return Verdict("time", "typed times") if dates else Verdict("categorical", "true or false")
    return _of_scalars(name, column, facts)


def convert(name: str, column: ColumnData, kind: Kind, where: str) -> ColumnData:
    """Return the column as the kind asks.

    Returns:
        `Coded` (id, categorical, text), `Ragged` (multi, dated), float64 [n] (numeric), float32 [n, d] (vector), int64 [n] ns UTC (time).

    Raises:
        DataError: A value does not fit the kind; the first bad row is named.
    """
    if kind == "numeric":
        return finite(to_numbers(name, column, where))
    if kind == "time":
        return _to_times(name, column, where)
    if kind == "multi":
        return _to_multi(name, column, where)
    if kind == "dated":
        lists = _to_multi(name, column, where)
        if not _all_dated(lists):
            told = f"column {name!r} does not hold lists of dated values"
            raise DataError(told, where=where, hint="write each value behind its Unix second: @1138537770 dentist")
        return lists
    if kind == "vector":
        return _to_vectors(name, column, where)
    if isinstance(column, Ragged) or (isinstance(column, np.ndarray) and column.ndim == 2):
        raise DataError(f"column {name!r} holds lists, which cannot be {kind}", where=where, hint=f"--kind {name}=multi")
    return as_coded(column).compact()


def to_numbers(name: str, column: ColumnData, where: str) -> np.ndarray:
    """Return float64 [n]; NaN = missing, infinite values stay.

    Raises:
        DataError: A value is not a number; the first bad row is named.
    """
    if isinstance(column, Ragged) or (isinstance(column, np.ndarray) and (column.ndim == 2 or column.dtype.kind == "M")):
        raise DataError(f"column {name!r} holds no plain numbers", where=where, hint=f"choose another column than {name!r}")
    if isinstance(column, np.ndarray):
        return column.astype(np.float64)
    numbers, good = parse_numbers(column.values)
    if row := first_row(column, ~good):
        value = str(column.values[column.codes[row - 1]])
        comma = bool(matches(trimmed(np.array([value], dtype=object)), _DECIMAL_COMMA)[0])
        point = f"write a decimal point: {value.strip().replace(',', '.')}"
        hint = point if comma else f"correct the value, or choose another column than {name!r}"
        raise DataError(f"column {name!r}, data row {row}: {value[:60]!r} is not a number", where=where, hint=hint)
    return np.asarray(np.append(numbers, np.nan)[column.codes], dtype=np.float64)


def finite(values: np.ndarray) -> np.ndarray:
    """Return the numbers with infinite ones missing."""
    return np.where(np.isfinite(values), values, np.nan)


def _all_dated(lists: Ragged) -> bool:
    values = lists.values.values if isinstance(lists.values, Coded) else lists.values[:0]
    return len(values) > 0 and all((dated_parts(part)[0] < NEVER).all() for part in (values[:1], values))


def _of_scalars(name: str, column: ColumnData, facts: Profile) -> Verdict:
    assert facts.column is not None
    numbers, good = parse_numbers(facts.column.values)
    known = np.isfinite(numbers)
    if good.all() and known.any():
        return _of_numbers(name, column, facts, numbers[known])
    found = parse_times(column) if not good.all() else None
    if found is not None and found.bad <= 0.01 * (facts.rows - facts.missing):
        return Verdict("time", f"dates ({found.form})")
    return _of_strings(name, facts, good)


def _of_numbers(name: str, column: ColumnData, facts: Profile, numbers: np.ndarray) -> Verdict:
    assert facts.column is not None
    whole = bool((numbers == np.floor(numbers)).all())
    if isinstance(column, Coded) and matches(trimmed(facts.column.values), r"^0\d+$").any():
        return _category(facts, "numbers with leading zeros")
    if whole and words(name) & CATEGORY_WORDS:
        return _category(facts, "the name says the numbers are codes")
    if whole and words(name) & TIME_WORDS and np.median(np.abs(numbers)) >= 1e8:
        found = parse_times(column)
        if found is not None and found.bad == 0:
            return Verdict("time", f"the name says time, the values look like {found.form}")
    told = f"{'whole ' if whole else ''}numbers from {numbers.min():g} to {numbers.max():g}"
    return Verdict("numeric", told)


def _category(facts: Profile, why: str) -> Verdict:
    if facts.all_different:
        return Verdict("categorical", f"{why}; every value is different, which carries nothing beyond the row itself", False)
    return Verdict("categorical", f"{why}, {facts.distinct:,} different values")


def _of_strings(name: str, facts: Profile, good: np.ndarray) -> Verdict:
    assert facts.column is not None
    values = facts.column.values
    separator = find_separator(values, facts.counts)
    if separator == "json" and as_vectors(Coded(np.zeros(0, np.int32), values[:200])) is not None and as_vectors(facts.column) is not None:
        return Verdict("vector", "lists of equally many numbers")
    if separator is not None:
        told = f"several values a row, separated by {separator!r}" if separator != "json" else "lists of values in brackets"
        return Verdict("multi", told)
    text = trimmed(values)
    length, blanks = pc.mean(pc.utf8_length(text)).as_py(), pc.mean(pc.count_substring(text, " ")).as_py()
    varied = facts.distinct > 0.5 * (facts.rows - facts.missing)
    many = facts.distinct > 1000 or facts.distinct > 0.2 * (facts.rows - facts.missing)
    if (blanks >= 1.5 and varied) or (blanks >= 4 and length >= 25 and many):
        return Verdict("text", f"free text, {blanks + 1:.1f} words on average")
    if varied and length > 24 and facts.distinct > 20 and not matches(text, r"^[0-9A-Fa-f-]+$").all():
        return Verdict("text", f"long strings, mostly different, {length:.0f} characters on average")
    if matches(text, _DECIMAL_COMMA).any() and matches(text, r"^[+-]?\d+(,\d+)?$").all():
        return _category(facts, "numbers with a decimal comma are kept as categories (write a point to use them as numbers)")
    if good.mean() > 0.9 and facts.distinct > 2:
        row = first_row(facts.column, ~good)
        return _category(facts, f"mostly numbers, but data row {row} holds {str(values[facts.column.codes[row - 1]])[:20]!r}")
    lengths = pc.utf8_length(text)
    hashed = pc.min(lengths).as_py() >= 8 and bool(matches(text, r"^[0-9A-Fa-f-]+$").all())
    return _category(facts, "hashes" if hashed else "strings")


def _shown(facts: Profile) -> str:
    assert facts.column is not None
    return repr(str(facts.column.values[0])[:40])


def _to_times(name: str, column: ColumnData, where: str) -> np.ndarray:
    found = parse_times(column) if not isinstance(column, Ragged) else None
    if found is None:
        hint = "expected Unix seconds or ISO 8601, for example 2024-05-01T12:30:00Z"
        raise DataError(f"column {name!r} holds no times", where=where, hint=hint)
    return found.ns


def _to_multi(name: str, column: ColumnData, where: str) -> Ragged:
    if isinstance(column, Ragged) and isinstance(column.values, Coded):
        return Ragged(column.values.compact(), column.offsets)
    if isinstance(column, Ragged) or (isinstance(column, np.ndarray) and column.ndim == 2):
        told = f"column {name!r} holds lists of numbers with a decimal point, not of categories"
        raise DataError(told, where=where, hint=f"--kind {name}=vector")
    text = as_coded(column).compact()
    if len(text.values) == 0:
        return Ragged(text, np.zeros(len(text) + 1, dtype=np.int64))
    separator = find_separator(text.values, text.counts())
    candidates = [s for s in "|;," if pc.any(pc.match_substring(pa.array(text.values, pa.large_string()), s)).as_py()]
    return split_values(text, separator or (candidates[0] if candidates else "|"))


def _to_vectors(name: str, column: ColumnData, where: str) -> np.ndarray:
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return column
    found = as_vectors(column.compact()) if isinstance(column, Coded) else None
    if found is None:
        told = f"column {name!r} does not hold lists of equally many numbers"
        raise DataError(told, where=where, hint=f"--kind {name}=multi, or leave it out")
    return found
