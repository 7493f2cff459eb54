"""Columns of a request as the arrays that a recommender reads; their kinds are those of the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from autorec_kernel.records.dataset import CLOCK
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import MISSING_TIME, Coded, ColumnData, Ragged
from autorec_serve.problem import Refused

__all__ = ["EXPECTED", "arrays"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = np.iinfo(np.int64).max
EXPECTED = {
    "numeric": "numbers",
    "time": "times: texts such as 2026-01-31T12:00:00Z, or whole nanoseconds since 1970 UTC",
    "vector": "lists of numbers, all of one length",
    "multi": "lists of texts",
}
_TEXTS = "texts or whole numbers"


def arrays(given: Mapping[str, Sequence[Any]], known: Mapping[str, Column]) -> dict[str, ColumnData]:
    """Return columns by name, the time a second time under the clock's name, as the readers of tables do.

    Args:
        known: The columns that the bundle reads beside the ids.

    Raises:
        Refused: 422; a column is not read, or a value is not of its kind.
    """
    strange = [{"field": f"columns.{name}", "problem": "the bundle reads no such column"} for name in given if name not in known]
    if strange:
        listed = ", ".join(known) or "none"
        raise Refused(422, "unknown-column", f"columns that the bundle reads beside the ids: {listed}", fields=strange)
    found: dict[str, ColumnData] = {}
    for name, values in given.items():
        found[name] = _array(name, values, known[name].kind)
        if known[name].role == "time":
            found[CLOCK] = found[name]
    return found


def _array(name: str, values: Sequence[Any], kind: str) -> ColumnData:
    make = _MAKERS.get(kind, _texts)
    try:
        return make(values)
    except (TypeError, ValueError, OverflowError):
        fields = [{"field": f"columns.{name}", "problem": f"expected {EXPECTED.get(kind, _TEXTS)}, null where not known"}]
        raise Refused(422, "invalid-column", "a column holds values of another kind than in training", fields=fields) from None


def _numbers(values: Sequence[Any]) -> np.ndarray:
    if any(type(value) not in (int, float, type(None)) for value in values):
        raise TypeError
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def _times(values: Sequence[Any]) -> np.ndarray:
    return np.array([_time(value) for value in values], dtype=np.int64)


def _time(value: Any) -> int:
    if value is None:
        return int(MISSING_TIME)
    if type(value) is int:
        ticks = value
    else:
        moment = datetime.fromisoformat(value)
        gap = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        ticks = ((gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds) * 1000
    if not -_LAST <= ticks <= _LAST:
        raise OverflowError
    return ticks


def _vectors(values: Sequence[Any]) -> np.ndarray:
    width = max((len(value) for value in values if type(value) is list), default=0)
    rows = [[None] * width if value is None else value for value in values]
    if any(type(row) is not list or len(row) != width for row in rows):
        raise TypeError
    flat = _numbers([value for row in rows for value in row])
    return flat.reshape(len(rows), width).astype(np.float32)


def _lists(values: Sequence[Any]) -> Ragged:
    rows = [[] if value is None else value for value in values]
    if any(type(row) is not list for row in rows):
        raise TypeError
    return Ragged(_texts([value for row in rows for value in row]), offsets_of([len(row) for row in rows]))


def _texts(values: Sequence[Any]) -> Coded:
    if any(type(value) not in (str, int, type(None)) for value in values):
        raise TypeError
    texts = [None if value is None else str(value) for value in values]
    place = {text: code for code, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    codes = np.array([-1 if text is None else place[text] for text in texts], dtype=np.int32)
    return Coded(codes, np.array([*place, None], dtype=object)[:-1])


_MAKERS: Mapping[str, Callable[[Sequence[Any]], ColumnData]] = {
    "numeric": _numbers,
    "time": _times,
    "vector": _vectors,
    "multi": _lists,
}
