"""Pandas frames to arrow tables, the same for pandas 2.3 (`object` strings) and 3 (`str`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from autorec_kernel.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_pandas", "is_pandas"]


def is_pandas(source: Any) -> bool:
    """Return whether this is a pandas frame (pandas itself is not imported)."""
    return type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "columns")


def from_pandas(frame: pd.DataFrame) -> pa.Table:
    """Return the columns as arrow arrays; the index is left out.

    Columns that mix types become text, value by value, as `str` writes them (1 and "1" are the same id, 1.0 is "1").

    Raises:
        DataError: Two columns of one name, or text that is not valid unicode.
    """
    names = [str(name) for name in frame.columns]
    arrays = [_array(frame.iloc[:, place], name) for place, name in enumerate(names)]
    return pa.Table.from_arrays(arrays, names=names)


def _array(series: pd.Series[Any], name: str) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(series, from_pandas=True)
    except UnicodeEncodeError:
        raise DataError(f"column {name!r} holds text that is not valid unicode (a lone surrogate)", hint="clean the column first") from None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([_text(value) for value in series], pa.large_string())


def _text(value: Any) -> str | None:
    if value is None or value is not value or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).encode("utf-8", "replace").decode()
