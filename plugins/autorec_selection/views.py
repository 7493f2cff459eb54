"""Features as small whole numbers that do not look at any label: bins of numbers, frequent values of ids and bags, facts of histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.features import Feature
from autorec_selection.sample import Sample

__all__ = ["View", "candidate_values", "frequent", "number_columns", "views_of"]

_WIDTH = 16  # columns of a numeric feature that are looked at
_VALUES = 12  # values of a bag that are looked at


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One reading of a feature.

    Args:
        feature: Its name.
        what: What is read, in words.
        codes: int32 [n], each below `size`.
    """

    feature: str
    what: str
    codes: np.ndarray
    size: int


def views_of(feature: Feature, sample: Sample, bins: int, values: int) -> list[View]:
    """Return the readings of a feature; one that is the same on every row is left out.

    Args:
        bins: Quantile bins of numbers.
        values: Most frequent values of an id that keep a code of their own.
    """
    raw = sample.inputs[feature.name]
    if feature.kind == "numeric":
        columns = number_columns(raw)
        found = [("bins" if len(columns) == 1 else f"bins of column {i}", *_binned(raw[:, i], bins)) for i in columns]
    elif feature.kind == "id":
        found = [("values", *_top(raw, values))]
    elif feature.kind == "bag":
        found = [(f"value {value}", (raw == value).any(1), 2) for value in frequent(raw[raw > 0], _VALUES)]
        found.append(("number of values", *_binned((raw > 0).sum(1), bins)))
    else:
        found = _of_history(feature, raw, sample, bins, values)
    views = [View(feature.name, what, np.asarray(codes, np.int32), int(size)) for what, codes, size in found]
    return [view for view in views if len(view.codes) and view.codes.min() < view.codes.max()]


def number_columns(raw: np.ndarray) -> np.ndarray:
    """Return int64, the columns of numeric values [n, width] that are looked at: the ones that vary most, in order."""
    if raw.shape[1] <= _WIDTH or not len(raw):
        return np.arange(raw.shape[1])
    spread = np.nan_to_num(raw.astype(np.float64)).std(axis=0)
    return np.sort(np.argsort(-spread, kind="stable")[:_WIDTH])


def frequent(values: np.ndarray, count: int) -> np.ndarray:
    """Return the most frequent of values int64 [m], at most `count`, the most frequent first."""
    sizes = np.bincount(np.asarray(values).reshape(-1)) if np.size(values) else np.zeros(0, np.int64)
    order = np.argsort(-sizes, kind="stable")[:count]
    return order[sizes[order] > 0]


def candidate_values(feature: Feature, sample: Sample) -> np.ndarray | None:
    """Return int64 [n], what the row's item is in the vocabulary of a history: the item itself, or its value of an id feature."""
    if feature.vocabulary == "item":
        return sample.items
    for other in sample.features:
        if other.kind == "id" and other.vocabulary == feature.vocabulary and other.depends in ("item", "row"):
            return sample.inputs[other.name]
    return None


def _binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, int]:
    """Return (codes, size): one code a value where there are few, else quantile bins; unknown values have a code of their own."""
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) > bins:
        distinct = np.unique(np.quantile(values[known].astype(np.float64), np.arange(1, bins) / bins))
    codes = np.where(known, np.searchsorted(distinct, values, side="left"), -1)
    used, compact = np.unique(codes, return_inverse=True)
    return compact, len(used)


def _top(values: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    kept = frequent(values, count)
    place = np.full(int(values.max(initial=0)) + 1, len(kept), np.int32)
    place[kept] = np.arange(len(kept))
    return place[values], len(kept) + 1


def _of_history(feature: Feature, raw: np.ndarray, sample: Sample, bins: int, values: int) -> list[tuple[str, np.ndarray, int]]:
    length = (raw > 0).sum(1)
    last = raw[np.arange(len(raw)), np.maximum(length - 1, 0)] if raw.shape[1] else np.zeros(len(raw), np.int64)
    found = [("length", *_binned(length, bins)), ("last value", *_top(last, values))]
    candidate = candidate_values(feature, sample)
    if candidate is not None:
        inside = ((raw == candidate[:, None]) & (raw > 0)).any(1)
        found += [
            ("whether it holds the candidate", inside, 2),
            ("whether it ends with the candidate", (last == candidate) & (last > 0), 2),
        ]
    return found
