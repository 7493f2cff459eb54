"""The label column as each task needs it: ratings as numbers, clicks as 0 and 1."""

from __future__ import annotations

import numpy as np

from autorec_kernel.data.kinds import to_numbers
from autorec_kernel.data.numbers import is_missing_token, parse_numbers
from autorec_kernel.data.profile import as_coded
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import Task
from autorec_kernel.records.schema import Kind
from autorec_kernel.records.table import Coded, ColumnData

__all__ = ["check_further_label", "check_label", "is_answer", "read_further_label", "read_label"]

_YES = frozenset(("1", "1.0", "true", "t", "yes", "y", "click", "clicked", "bought", "like", "liked", "positive", "pos"))
_NO = frozenset(("0", "0.0", "false", "f", "no", "n", "skip", "skipped", "dislike", "disliked", "negative", "neg", "-1", "-1.0"))
_LARGEST = 3.0e38


def read_label(name: str, column: ColumnData, task: Task, threshold: float | None, where: str) -> tuple[np.ndarray, list[str]]:
    """Return float64 [n] (NaN = missing) and notes for the report; for `click` the values are 0 and 1.

    Raises:
        DataError: A value is not a number, infinite, or (click) the label has more than two values and no threshold is given.
    """
    if task == "click" and threshold is None:
        return _binary(name, column, where)
    worded = isinstance(column, Coded) and is_answer(column.values) and not parse_numbers(column.values)[1].all()
    values = _binary(name, column, where)[0] if worded and task != "rate" and threshold is not None else to_numbers(name, column, where)
    _refuse_huge(name, values, where)
    if task == "click" and threshold is not None:
        return np.where(np.isnan(values), np.nan, (values >= threshold).astype(np.float64)), []
    return values, []


def read_further_label(name: str, column: ColumnData, kind: Kind | None, where: str) -> tuple[np.ndarray, Kind, list[str]]:
    """Return float64 [n] (NaN = unknown), the kind and notes for the report.

    Args:
        kind: categorical = answers, read as 0 and 1; numeric = numbers; None = answers where the column holds 0 and 1 or two words.

    Raises:
        DataError: A value is not a number, infinite, or answers have more than two values.
    """
    chosen: Kind = kind or ("categorical" if _holds_answers(column) else "numeric")
    try:
        values, notes = _binary(name, column, where) if chosen == "categorical" else (to_numbers(name, column, where), [])
    except DataError as error:
        hint = f"make 0 and 1, or numbers, of it; or --role {name}=ignore"
        raise DataError(error.message, where=where, hint=hint) from error
    _refuse_huge(name, values, where)
    return values, chosen, notes


def check_further_label(name: str, values: np.ndarray, where: str) -> None:
    """Refuse a further label that has nothing to predict.

    Raises:
        DataError: It is empty, or has one value only.
    """
    distinct = np.unique(values[~np.isnan(values)])
    if len(distinct) < 2:
        told = f"is constant ({distinct[0]:g})" if len(distinct) else "is empty"
        hint = f"leave it out: --role {name}=ignore"
        raise DataError(f"label column {name!r} {told}, there is nothing to predict", where=where, hint=hint)


def is_answer(values: np.ndarray) -> bool:
    """Return whether the distinct values are one word for yes and one for no, missing ones aside."""
    present = [str(value).strip().lower() for value in values[~is_missing_token(values)]] if len(values) else []
    return len(present) == 2 and any(value in _YES for value in present) and any(value in _NO for value in present)


def check_label(name: str, values: np.ndarray, task: Task, where: str) -> None:
    """Refuse labels with which the task has no meaning.

    Raises:
        DataError: One class only (click), or constant (rate).
    """
    if task == "recommend":
        return
    distinct = np.unique(values[~np.isnan(values)])
    if len(distinct) == 0:
        raise DataError(f"label column {name!r} is empty", where=where, hint="choose another label: --role COLUMN=label")
    if len(distinct) == 1 and task == "click":
        told = f"label column {name!r} has a single class (every row is {distinct[0]:g}), a click model needs two"
        raise DataError(told, where=where, hint="add rows of the other class, or use --task recommend")
    if len(distinct) == 1:
        told = f"label column {name!r} is constant ({distinct[0]:g}), there is nothing to predict"
        raise DataError(told, where=where, hint="use --task recommend, or choose another label: --role COLUMN=label")


def _holds_answers(column: ColumnData) -> bool:
    if not isinstance(column, Coded) and (not isinstance(column, np.ndarray) or column.ndim != 1):
        return False
    values = as_coded(column).compact().values
    present = values[~is_missing_token(values)] if len(values) else values
    numbers, good = parse_numbers(present) if len(present) else (np.zeros(0), np.zeros(0, bool))
    return is_answer(values) or bool(good.all() and np.isin(numbers, (0, 1)).all()) or (len(present) == 2 and not good.any())


def _binary(name: str, column: ColumnData, where: str) -> tuple[np.ndarray, list[str]]:
    text = as_coded(column).compact() if not isinstance(column, np.ndarray) or column.ndim == 1 else None
    if text is None:
        raise DataError(f"label column {name!r} holds lists", where=where, hint="choose another label: --role COLUMN=label")
    lower = [str(value).strip().lower() for value in text.values]
    missing = is_missing_token(text.values) if len(text.values) else np.zeros(0, bool)
    named = np.array([1.0 if value in _YES else 0.0 if value in _NO else np.nan for value in lower])
    named[missing] = np.nan
    notes: list[str] = []
    if np.isnan(named[~missing]).any():
        named, notes = _two_values(name, text, missing, where)
    return np.append(named, np.nan)[text.codes], notes


def _two_values(name: str, text: Coded, missing: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    numbers, good = parse_numbers(text.values)
    present = np.flatnonzero(~missing)
    if good.all():
        distinct = np.unique(numbers[present])
        if len(distinct) > 2:
            told = f"label column {name!r} has {len(distinct)} values from {distinct[0]:g} to {distinct[-1]:g}, a click is 0 or 1"
            raise DataError(told, where=where, hint=f"--positive-threshold {distinct[int(0.7 * len(distinct))]:g}, or --task rate")
        return np.where(missing, np.nan, (numbers == distinct[-1]).astype(np.float64)), [f"{name}: {distinct[-1]:g} counts as a click"]
    if len(present) > 2:
        row = int(np.flatnonzero(text.codes == present[~good[present]][0])[0]) + 1
        value = str(text.values[text.codes[row - 1]])[:60]
        told = f"label column {name!r}, data row {row}: {value!r} is neither 0 nor 1"
        raise DataError(told, where=where, hint="use 0 and 1 (or yes and no)")
    counts = text.counts()[present]
    positive = present[int(np.argmin(counts))]
    out = np.where(missing, np.nan, 0.0)
    out[positive] = 1.0
    return out, [f"{name}: the rarer value {str(text.values[positive])!r} counts as a click"]


def _refuse_huge(name: str, values: np.ndarray, where: str) -> None:
    bad = np.flatnonzero(np.abs(values) > _LARGEST)
    if len(bad):
        told = f"label column {name!r}, data row {int(bad[0]) + 1}: {values[bad[0]]:g} is out of range"
        raise DataError(told, where=where, hint="correct the value")
