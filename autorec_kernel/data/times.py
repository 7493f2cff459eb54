"""Columns that mean a time, in every usual form, to int64 nanoseconds since 1970 UTC (`MISSING_TIME` where missing)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.data.numbers import first_row, is_missing_token, parse_integers, parse_numbers, trimmed
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.table import Coded, ColumnData

__all__ = ["Times", "parse_times"]

_CLOCK = r"(?:[T ,]+(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?:[ \x{a0}\x{202f}]?(?P<p>[AaPp])\.?[Mm]\.?)?)?"
_ZONE = r" ?(?P<z>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_FORMS = (
    ("ISO 8601", r"^(?P<y>\d{4})-(?P<m>\d{2})(?:-(?P<d>\d{2}))?" + _CLOCK + _ZONE + "$"),
    ("year/month/day", r"^(?P<y>\d{4})[/.](?P<m>\d{1,2})[/.](?P<d>\d{1,2})" + _CLOCK + _ZONE + "$"),
    ("day-month name-year", r"^(?:[A-Za-z]{3},? )?(?P<d>\d{1,2})[- /](?P<b>[A-Za-z]{3,9})[- /,]+(?P<y>\d{4}|\d{2})" + _CLOCK + _ZONE + "$"),
    ("month name day, year", r"^(?P<b>[A-Za-z]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})" + _CLOCK + _ZONE + "$"),
    ("day.month.year", r"^(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _CLOCK + _ZONE + "$"),
    ("month day, year", r"^(?P<m>\d{1,2}) (?P<d>\d{1,2}), (?P<y>\d{4})" + _CLOCK + _ZONE + "$"),
    ("slashes", r"^(?P<m>\d{1,2})[/-](?P<d>\d{1,2})[/-](?P<y>\d{4})" + _CLOCK + _ZONE + "$"),
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Unix times: (unit, nanoseconds in it, smallest plausible value); seconds hold from 1973 to year 5138.
_UNITS = (("nanoseconds", 1, 1e17), ("microseconds", 1_000, 1e14), ("milliseconds", 1_000_000, 1e11), ("seconds", 1_000_000_000, 0.0))
_LIMIT = 9_200_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """A column read as times.

    Args:
        ns: int64 [n].
        form: What the values look like, for the reason shown to people.
        bad: How many rows hold something that is no time.
        bad_row: The first of them (1 = first data row), 0 = none.
        dates: Whether the values are written dates or typed times (plain numbers need a telling column name).
    """

    ns: np.ndarray
    form: str
    bad: int
    bad_row: int
    dates: bool


def parse_times(column: ColumnData) -> Times | None:
    """Read a raw column as times; None when it holds none at all."""
    if isinstance(column, Coded):
        return _from_text(column)
    if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype == np.bool_:
        return None
    if column.dtype.kind == "M":
        ns = column.astype("datetime64[ns]").view(np.int64)
        return Times(ns.copy(), "typed times", 0, 0, True)
    ns, form = _from_numbers(column, np.isfinite(column))
    return _result(ns, form, np.isfinite(column), False)


def _result(ns: np.ndarray, form: str, present: np.ndarray, dates: bool) -> Times | None:
    bad = present & (ns == MISSING_TIME)
    if not (ns != MISSING_TIME).any():
        return None
    return Times(ns, form, int(bad.sum()), int(np.argmax(bad)) + 1 if bad.any() else 0, dates)


def _from_text(column: Coded) -> Times | None:
    values = column.values
    missing = is_missing_token(values)
    whole, is_whole = parse_integers(values)
    if (is_whole | missing).all():
        distinct, form = _from_numbers(whole, is_whole)
        dates = False
    else:
        numbers, fine = parse_numbers(values)
        dates = not fine.all()
        distinct, form = _from_dates(values) if dates else _from_numbers(numbers, np.isfinite(numbers))
    bad = ~missing & (distinct == MISSING_TIME)
    ns = np.append(distinct, MISSING_TIME)[column.codes]
    if not (ns != MISSING_TIME).any():
        return None
    return Times(ns, form, int(np.append(bad, False)[column.codes].sum()), first_row(column, bad), dates)


def _from_numbers(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, str]:
    """Return int64 ns and the unit; yyyymmdd dates are recognised by their calendar."""
    out = np.full(len(values), MISSING_TIME, dtype=np.int64)
    known = values[present]
    if len(known) == 0:
        return out, "nothing"
    if ((known >= 18_000_101) & (known <= 22_001_231) & (known == np.floor(known))).all():
        dates = _calendar(known // 10_000, known // 100 % 100, known % 100)
        if (dates != MISSING_TIME).all():
            out[present] = dates
            return out, "yyyymmdd dates"
    unit, scale, _ = next(entry for entry in _UNITS if float(np.median(np.abs(known))) >= entry[2])
    out[present] = _scaled(known, scale)
    return out, f"Unix {unit}"


def _scaled(values: np.ndarray, scale: int) -> np.ndarray:
    out = np.full(len(values), MISSING_TIME, dtype=np.int64)
    fits = np.abs(values.astype(np.float64)) < _LIMIT / scale
    if values.dtype.kind == "i":
        out[fits] = values[fits] * scale
    else:
        whole = np.floor(values[fits])
        out[fits] = whole.astype(np.int64) * scale + np.round((values[fits] - whole) * scale).astype(np.int64)
    return out


def _from_dates(values: np.ndarray) -> tuple[np.ndarray, str]:
    text = trimmed(values)
    out = np.full(len(values), MISSING_TIME, dtype=np.int64)
    names: list[tuple[int, str]] = []
    for name, pattern in _FORMS:
        todo = out == MISSING_TIME
        if not todo.any():
            break
        parts = pc.extract_regex(text, pattern)
        found = todo & np.asarray(parts.is_valid().to_numpy(zero_copy_only=False))
        if found.any():
            ns, told = _assemble(parts.filter(pa.array(found)), name)
            out[found] = ns
            names.append((int((ns != MISSING_TIME).sum()), told))
    return out, max(names)[1] if names else "nothing"


def _assemble(parts: pa.StructArray, name: str) -> tuple[np.ndarray, str]:
    fields = {field.name: parts.field(place) for place, field in enumerate(parts.type)}
    month = _month_number(fields["b"]) if "b" in fields else _integer(fields["m"])
    day = _integer(fields["d"], 1)
    if name == "slashes":
        swapped = bool((month > 12).any() and not (day > 12).any())
        month, day = (day, month) if swapped else (month, day)
        sure = "" if swapped or (day > 12).any() else ", month first assumed"
        name = "day/month/year" if swapped else f"month/day/year{sure}"
    ns = _calendar(_year(fields["y"]), month, day)
    hour, half = _hour(fields["H"], fields["p"])
    seconds = hour * 3600 + _integer(fields["M"]) * 60 + _integer(fields["S"]) - _offset(fields["z"])
    fraction = _integer(pc.utf8_rpad(pc.fill_null(fields["f"], ""), 9, "0"))
    ns[~half] = MISSING_TIME
    good = ns != MISSING_TIME
    ns[good] += seconds[good] * 1_000_000_000 + fraction[good]
    return ns, name


def _year(part: pa.Array) -> np.ndarray:
    """Return int64 years; two digits mean 1969 to 2068, as POSIX reads them."""
    year = _integer(part)
    short = np.asarray(pc.equal(pc.utf8_length(part), 2).to_numpy(zero_copy_only=False), dtype=bool)
    return np.where(short, year + np.where(year >= 69, 1900, 2000), year)


def _hour(part: pa.Array, letter: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 hours 0 to 23, and bool: whether the hour fits its clock (12 AM is midnight, 12 PM noon, 13 PM is none)."""
    hour, half = _integer(part), np.asarray(pc.utf8_lower(pc.fill_null(letter, "")).to_numpy(zero_copy_only=False))
    twelve = (half == "a") | (half == "p")
    return np.where(twelve, hour % 12 + 12 * (half == "p"), hour), ~twelve | ((hour >= 1) & (hour <= 12))


def _calendar(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return int64 ns of midnight UTC; dates that do not exist, or lie outside 1678 to 2261, are missing."""
    year, month, day = (np.asarray(part).astype(np.int64) for part in (year, month, day))
    start = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(np.int64)
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= length) & (year > 1677) & (year < 2262)
    days = start.astype("datetime64[D]").astype(np.int64) + day - 1
    return np.where(good, np.where(good, days, 0) * 86_400_000_000_000, MISSING_TIME)


def _integer(part: pa.Array, empty: int = 0) -> np.ndarray:
    text = pc.if_else(pc.equal(pc.fill_null(part, ""), ""), str(empty), pc.fill_null(part, ""))
    return np.asarray(pc.cast(text, pa.int64()).to_numpy(zero_copy_only=False))


def _month_number(part: pa.Array) -> np.ndarray:
    short = pc.utf8_lower(pc.utf8_slice_codeunits(part, 0, 3))
    place = pc.index_in(short, value_set=pa.array(_MONTHS, part.type))
    return np.asarray(pc.add(pc.fill_null(place, -1), 1).to_numpy(zero_copy_only=False)).astype(np.int64)


def _offset(part: pa.Array) -> np.ndarray:
    """Return int64 seconds east of UTC; no zone means UTC."""
    digits = pc.replace_substring_regex(pc.fill_null(part, ""), "[^0-9]", "")
    number = _integer(pc.utf8_rpad(digits, 4, "0"))
    sign = np.where(np.asarray(pc.starts_with(pc.fill_null(part, ""), "-").to_numpy(zero_copy_only=False)), -1, 1)
    return np.asarray(sign * (number // 100 * 3600 + number % 100 * 60))
