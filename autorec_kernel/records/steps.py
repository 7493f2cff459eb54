"""The closed list of program steps: each is one numpy function of columns, parameters and stored arrays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from autorec_kernel.records.as_of import gather_last
from autorec_kernel.records.frame import Frame
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.reads import as_of
from autorec_kernel.records.table import MISSING_TIME, Coded, Ragged, take_or_missing

__all__ = ["STEPS"]

_WORD = re.compile(r"\w+")
_DAY = 86_400_000_000_000  # ns
_PARTS: Mapping[str, int] = {"hour": 24, "weekday": 7, "day": 31, "month": 12, "quarter": 4}


def _lookup(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Rows of the texts of a column in `vocabulary`; 0 = unknown or missing."""
    return frame.vocabulary(params["vocabulary"]).rows_of_column(frame.texts(inputs[0]))


def _hash(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """1 + BLAKE2b(salt + text) modulo `buckets`; 0 = missing. The same in every process.

    A second input, the rows of a vocabulary of `size` rows, goes before: only texts that are not in it are hashed, into rows behind it.
    """
    column, salt, buckets = frame.texts(inputs[0]), str(params.get("salt", "")), int(params["buckets"])
    known = frame.integers(inputs[1]) if len(inputs) > 1 else np.zeros(len(column), np.int64)
    first = int(params["size"]) if len(inputs) > 1 else 1
    rows = np.zeros(len(column.values) + 1, np.int64)  # the last one is that of missing texts
    for code in np.unique(column.codes[(known == 0) & (column.codes >= 0)]):
        rows[code] = first + _bucket(salt + column.values[code], buckets)
    return np.where(known > 0, known, rows[column.codes])


def _bucketize(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """1 + the number of `edges` at or below the value; 0 = missing. `at_end`: the row of a clock where tables are read at their end."""
    value = frame.numbers(inputs[0])
    if frame.context.latest and "at_end" in params:
        return np.full(len(value), int(params["at_end"]), np.int64)
    return np.where(np.isnan(value), 0, 1 + np.searchsorted(frame.arrays[params["edges"]], value, side="right"))


def _affine(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """(x - shift) * scale; both are numbers or names of arrays [d]."""
    return np.asarray((frame.numbers(inputs[0]) - frame.constant(params["shift"])) * frame.constant(params["scale"]))


def _log1p(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """sign(x) * log(1 + |x|)."""
    value = frame.numbers(inputs[0])
    return np.asarray(np.copysign(np.log1p(np.abs(value)), value))


def _clip(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Into [low, high]; missing stays missing."""
    return np.asarray(np.clip(frame.numbers(inputs[0]), float(params["low"]), float(params["high"])))


def _calendar(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """1 + the `part` (hour, weekday from Monday, day, month, quarter; UTC) of a time, 0 = missing; `cyclic`: its sine and cosine."""
    time = frame.integers(inputs[0], MISSING_TIME)
    part = _calendar_part(np.where(time == MISSING_TIME, 0, time), str(params["part"]))
    if not params.get("cyclic"):
        return np.where(time == MISSING_TIME, 0, part + 1)
    angle = 2 * np.pi * part / _PARTS[params["part"]]
    return np.where((time == MISSING_TIME)[:, None], 0.0, np.stack([np.sin(angle), np.cos(angle)], 1))


def _fill(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Missing values become `value` (a number or the name of an array [d]); `indicator` adds a column that is 1 where they were."""
    number, value = frame.numbers(inputs[0]), frame.constant(params["value"])
    if number.ndim == 1 and value.ndim == 1:  # a vector column that is not there at all
        number = np.broadcast_to(number[:, None], (len(number), len(value)))
    lost = np.isnan(number)
    filled = np.where(lost, value, number)
    return np.stack([filled, lost.astype(np.float64)], 1) if params.get("indicator") else filled


def _bag(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """int64 [n, width]: rows of the known texts of a list column in `vocabulary`, in order, padded with 0 on the right."""
    width, column = int(params["width"]), frame.values.get(inputs[0])
    if column is None:
        return np.zeros((frame.context.rows, width), np.int64)
    values = column.values if isinstance(column, Ragged) else frame.texts(inputs[0])
    offsets = column.offsets if isinstance(column, Ragged) else np.arange(len(values) + 1)
    rows = frame.vocabulary(params["vocabulary"]).rows_of_column(values)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows != 0)])
    kept = before[offsets]
    return _first(rows[rows != 0], kept[:-1], kept[1:], width)


def _words(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> Ragged:
    """The first `most` words of a text: runs of letters and digits, in lower case; `reversed`: the last ones, from its end."""
    column, most, order = frame.texts(inputs[0]), int(params["most"]), -1 if params.get("reversed") else 1
    found = [_WORD.findall(str(text).lower())[::order][:most] for text in column.values]
    index = {word: code for code, word in enumerate(sorted(set(chain.from_iterable(found))))}
    words = np.array([*index, None], dtype=object)[:-1]
    codes = np.fromiter((index[word] for word in chain.from_iterable(found)), np.int32)
    whole = Ragged(Coded(codes, words), offsets_of(np.array([*map(len, found)], dtype=np.int64)))
    taken = take_or_missing(whole, column.codes) if len(column.values) else Ragged(whole.values, np.zeros(len(column) + 1, np.int64))
    assert isinstance(taken, Ragged)
    return taken


def _gather(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Rows of the array `table`; a row that does not exist reads row 0."""
    rows, table = frame.integers(inputs[0]), frame.arrays[params["table"]]
    return np.asarray(table[np.where((rows >= 0) & (rows < len(table)), rows, 0)])


def _pool(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Mean (`mode`: or max, min) of values [n, W] or [n, W, d] inputs[0] where the keys [n, W] inputs[1] are not 0, else NaN."""
    values, known = frame.numbers(inputs[0]), frame.integers(inputs[1]) != 0
    if values.ndim == 1:
        return np.where(known, values, np.nan)
    known = known.reshape(*known.shape, *[1] * (values.ndim - 2))
    count = known.sum(axis=1)
    if params.get("mode", "mean") != "mean":
        sign = 1.0 if params["mode"] == "max" else -1.0
        return np.where(count > 0, sign * np.where(known, sign * values, -np.inf).max(axis=1, initial=-np.inf), np.nan)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _minus(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """inputs[0] - inputs[1]."""
    return np.asarray(frame.numbers(inputs[0]) - frame.numbers(inputs[1]))


def _plus(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """inputs[0] + inputs[1]."""
    return np.asarray(frame.numbers(inputs[0]) + frame.numbers(inputs[1]))


def _ratio(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """(numerator + strength * prior) / (denominator + strength); the prior is a number, or a third value [n]."""
    strength, above, below = float(params["strength"]), frame.numbers(inputs[0]), frame.numbers(inputs[1])
    prior = frame.numbers(inputs[2]) if len(inputs) > 2 else np.full(len(above), float(params.get("prior", 0.0)))
    prior = prior.reshape(len(prior), *[1] * (above.ndim - 1)) if prior.ndim < above.ndim else prior
    return np.asarray((above + strength * prior) / (below + strength))


def _concat(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Columns of all inputs side by side."""
    parts = [frame.numbers(name) for name in inputs]
    return np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)


def _cross(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Row of the pair of two ids, `size` rows in the second vocabulary (row 0 included); 0 where either is unknown.

    The second may be a bag [n, W]. `buckets`: hashed into so many rows (a multiplicative hash), for spaces too large to be listed.
    """
    first, second = frame.integers(inputs[0]), frame.integers(inputs[1])
    first = first[:, None] if second.ndim > first.ndim else first
    pair = (first - 1) * (int(params["size"]) - 1) + second
    if "buckets" in params:
        mixed = pair.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, TAOCP 3, section 6.4)
        pair = ((mixed >> np.uint64(32)) % np.uint64(int(params["buckets"]))).astype(np.int64) + 1
    return np.where((first == 0) | (second == 0), 0, pair)


def _match(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """1 + the position of a whole number in the sorted int64 array `values`; 0 = not there."""
    value, known = frame.integers(inputs[0]), frame.arrays[params["values"]]
    place = np.minimum(np.searchsorted(known, value), max(len(known) - 1, 0))
    return np.where(known[place] == value, place + 1, 0) if len(known) else np.zeros(len(value), np.int64)


def _dot(frame: Frame, inputs: tuple[str, ...], params: Mapping[str, Any]) -> np.ndarray:
    """Row-wise inner product of two values [n, d], or the product of two [n]."""
    product = frame.numbers(inputs[0]) * frame.numbers(inputs[1])
    return np.asarray(product.sum(axis=1) if product.ndim == 2 else product)


STEPS: Mapping[str, Callable[[Frame, tuple[str, ...], Mapping[str, Any]], np.ndarray | Ragged]] = {
    "affine": _affine,
    "as_of": as_of,
    "bag": _bag,
    "bucketize": _bucketize,
    "calendar": _calendar,
    "clip": _clip,
    "concat": _concat,
    "cross": _cross,
    "dot": _dot,
    "fill": _fill,
    "gather": _gather,
    "hash": _hash,
    "log1p": _log1p,
    "minus": _minus,
    "plus": _plus,
    "pool": _pool,
    "lookup": _lookup,
    "match": _match,
    "ratio": _ratio,
    "words": _words,
}


def _bucket(text: str, buckets: int) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % buckets


def _calendar_part(time: np.ndarray, part: str) -> np.ndarray:
    if part == "hour":
        return np.asarray(time // (_DAY // 24) % 24)
    if part == "weekday":
        return np.asarray((time // _DAY + 3) % 7)  # 1 January 1970 was a Thursday
    days = (time // _DAY).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    if part == "day":
        return np.asarray((days - months).astype(np.int64))
    month = months.astype(np.int64) % 12
    return np.asarray(month if part == "month" else month // 3)


def _first(values: np.ndarray, start: np.ndarray, end: np.ndarray, width: int) -> np.ndarray:
    return gather_last(values, start, np.minimum(end, start + width), width)
