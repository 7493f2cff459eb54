"""The program step that reads as-of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autorec_kernel.records.as_of import FOREVER, AsOfTable, gather_last
from autorec_kernel.records.frame import Frame
from autorec_kernel.records.table import MISSING_TIME

__all__ = ["as_of"]


def as_of(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """State of key inputs[0] strictly before inputs[1]: measure `column` of a sum table, or the last `length` values of a sequence.

    `window` (ns): the sum over the events since then only; `newest`: over the last so many. `since` (last | first): ns since that event,
    NaN where there is none. Keys may be a matrix [n, W], and so is the answer then.
    """
    table, length = frame.tables[params["table"]], int(params.get("length", 0))
    length = min(length, frame.context.lengths.get(frame.output, length))
    if frame.context.histories is not None and table.key in ("@user", "@user_key"):
        return _from_history(table, frame.context.histories, length, params)
    keys = frame.integers(inputs[0])
    memo = (params["table"], inputs, length, params.get("window"), params.get("since"), params.get("newest"))
    if memo not in frame.found:
        times = None if frame.context.latest or len(inputs) < 2 else frame.integers(inputs[1], MISSING_TIME)
        frame.found[memo] = _state(table, keys, times, length, params, _place(frame, table, inputs, keys, times))
    state = frame.found[memo]
    if table.kind == "sequence":
        return np.asarray(state)
    return np.asarray(state if state.ndim == 1 else state[:, int(params.get("column", 0))]).reshape(keys.shape)


def _place(frame: Frame, table: AsOfTable, inputs: tuple[str, ...], keys: np.ndarray, times: np.ndarray | None) -> np.ndarray | None:
    """Return int64 [n], the entries that the moments fall on: searched once for all steps and tables that have the same events.

    None where tables are read at their end, or a moment means the end.
    """
    if times is None or not len(table.times) or not table.time:
        return None
    events = id(table.offsets), id(table.times)
    shared = (frame.context.places or {}).get(events) if all(name.startswith("@") for name in inputs) else None
    found, memo = (frame.found, ("place", inputs, events)) if shared is None else (shared, inputs)
    if memo not in found:
        moments = np.repeat(times, keys.shape[1]) if keys.ndim == 2 else times
        place = None if (times == FOREVER).any() else table.before(keys.reshape(-1), moments)
        found[memo] = place.astype(np.int32) if place is not None and len(table.times) < 2**31 else place
    return found[memo]


def _state(
    table: AsOfTable, keys: np.ndarray, times: np.ndarray | None, length: int, params: Mapping[str, Any], at: np.ndarray | None
) -> np.ndarray:
    times = np.repeat(times, keys.shape[1]) if times is not None and keys.ndim == 2 else times
    keys = keys.reshape(-1)
    if "window" in params:
        return table.within(keys, times, int(params["window"]), at=at)
    if "newest" in params:
        return table.newest(keys, times, int(params["newest"]), at=at)
    if "since" in params:
        return table.since(keys, times, first=params["since"] == "first", at=at)
    return table.latest(keys, length) if times is None else table.read(keys, times, length, at=at)


def _from_history(table: AsOfTable, histories: tuple[np.ndarray, np.ndarray], length: int, params: Mapping[str, Any]) -> np.ndarray:
    """Return what a list of items alone tells: the items and their number, and of times and labels nothing."""
    offsets, items = histories
    if table.kind == "sequence":
        known = items if table.value == "@item" else np.zeros_like(items)
        return gather_last(known, offsets[:-1], offsets[1:], length)
    if "since" in params:
        return np.full(len(offsets) - 1, np.nan)
    return table.given(np.diff(offsets))[:, int(params.get("column", 0))]
