"""What callers of a recommender give: ids of any plain kind as texts, columns as arrays, and an error for everything else (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.records.table import Coded, Ragged

if TYPE_CHECKING:
    from autorec_kernel.records.table import ColumnData

__all__ = ["arrays_of", "check_forms", "form_of", "misread", "texts_of"]

_READ_AS = {
    "numeric": ("numbers", "whole numbers"),
    "time": ("whole numbers",),
    "vector": ("vectors",),
    "multi": ("lists", "texts", "no value at all"),
}
_TEXTS = ("texts", "numbers", "whole numbers", "no value at all")  # other kinds; numbers are read by their shortest text
_DTYPES = {"b": "numbers", "f": "numbers", "i": "whole numbers", "u": "whole numbers", "M": "times", "O": "objects"}
_HINT = "numbers are float64 arrays, times int64 (ns since 1970, UTC), texts `Coded`; deploy.rows.read_rows makes them of a file or frame"


def texts_of(ids: Any, entity: str) -> list[str | None] | None:
    """Return ids as the texts that training read them as: whole numbers without a point, None and NaN as missing.

    Raises:
        UsageError: They are no list of ids.
    """
    if ids is None:
        return None
    if isinstance(ids, Coded):
        return list(ids.text())
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise UsageError(f"{entity}s is {ids!r:.60}, not a list of ids", hint=f'give one id a row: {entity}s=["42"]')
    return [_text(one, f"{entity}s[{row}]") for row, one in enumerate(ids)]


def arrays_of(columns: Any) -> dict[str, ColumnData]:
    """Return columns by name; times in numpy's own type become int64 ns.

    Raises:
        UsageError: They are no mapping, or one of them is no array.
    """
    if columns is not None and not isinstance(columns, Mapping):
        raise UsageError(f"columns is a {type(columns).__name__}, not a mapping of names to arrays", hint=_HINT)
    found: dict[str, ColumnData] = {}
    for name, column in (columns or {}).items():
        if not isinstance(column, np.ndarray | Coded | Ragged):
            raise UsageError(f"column {name!r} is a {type(column).__name__}, not an array", hint=_HINT)
        time = isinstance(column, np.ndarray) and column.dtype.kind == "M"
        found[name] = column.astype("M8[ns]").astype(np.int64) if time else column  # type: ignore[union-attr]
    return found


def check_forms(columns: Mapping[str, ColumnData], kinds: Mapping[str, str]) -> None:
    """Refuse columns that cannot be read as what they were in training.

    Raises:
        UsageError: All of them are named.
    """
    told = [f"{name!r} {wrong}" for name, kind in kinds.items() if name in columns and (wrong := misread(columns[name], kind))]
    if told:
        raise UsageError(f"column {', '.join(told)}", hint=_HINT)


def misread(column: ColumnData, kind: str) -> str:
    """Return how a column differs from its kind in training, "" where it can be read."""
    form = form_of(column)
    return "" if form in _READ_AS.get(kind, _TEXTS) else f"holds {form}, and was {kind} in training"


def form_of(column: ColumnData) -> str:
    """Return what a column holds, for people."""
    if isinstance(column, Coded | Ragged):
        return "lists" if isinstance(column, Ragged) else "texts" if (column.codes >= 0).any() or not len(column) else "no value at all"
    return "vectors" if column.ndim == 2 else _DTYPES.get(column.dtype.kind, "values of another type")


def _text(one: Any, where: str) -> str | None:
    if one is None or isinstance(one, str):
        return one
    if isinstance(one, int | np.integer):
        return str(one)
    if isinstance(one, float | np.floating):
        return None if one != one else str(int(one)) if float(one).is_integer() else str(float(one))
    raise UsageError(
        f"{where} is a {type(one).__name__}, {one!r:.60}, and no id", hint="ids are texts or whole numbers, None where missing"
    )
