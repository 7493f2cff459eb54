"""How events become the sorted entries of an as-of table, and how entries of later events join those that are there (numpy).

Nothing here holds more than a few arrays as long as the entries at a time: tables of 10^7 events are built in little more than their size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autorec_kernel.records.lists import owners
from autorec_kernel.records.mapped import let_go

__all__ = ["Orders", "by_key_and_time", "joined_entries", "totals"]

_Parts = tuple[np.ndarray, np.ndarray, np.ndarray]  # offsets, times and values of a table
Orders = dict[tuple[str, str, str, int], _Parts]  # columns of key, time and condition, and keys of a table → how it sorts their events


def by_key_and_time(keys: np.ndarray, times: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the order by (key, time), int32 [e] (int64 from 2^31 entries on), equal moments as they came.

    Events mostly come in order of time: then sorting by key will do.

    Args:
        keys: int64 [e], not below 0.
        times: int64 [n], of events.
        rows: int64 [e], the event of each entry, ascending; None = every event is one entry.
    """
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")  # a radix sort in numpy
    if len(keys) and keys.max() > 0xFFFF:
        order = order[np.argsort((keys[order] >> 16).astype(np.uint16 if keys.max() >> 32 == 0 else np.int64), kind="stable")]
    if (times[1:] < times[:-1]).any():
        own = times if rows is None else times[rows]
        late, held = own[order], keys[order]
        sorted_already = ((late[1:] >= late[:-1]) | (held[1:] != held[:-1])).all()
        order = order if sorted_already else np.lexsort((own, keys))
    return order.astype(np.int32) if len(order) < 2**31 else order


def totals(added: Iterable[np.ndarray], rows: np.ndarray, offsets: np.ndarray, measures: int) -> np.ndarray:
    """Return int64 [e, measures]: running totals inside every key.

    Args:
        added: int64 [n] a measure, what each event adds.
        rows: int64 [e], the event of each sorted entry.
        offsets: int64 [keys + 1].
    """
    found = np.empty((len(rows), measures), np.int64)
    starts = offsets[:-1][np.diff(offsets) > 0]
    for column, single in zip(found.T, added, strict=True):
        own = single[rows]
        if len(starts):
            own[starts[1:]] -= np.add.reduceat(own, starts)[:-1]  # what the key before ended with
        np.cumsum(own, out=column)
    return found


def joined_entries(old: _Parts, new: _Parts, *, sums: bool) -> _Parts:
    """Return the entries of both, those of `old` first where moments are equal: what sorting all events at once would give.

    Memory-mapped arrays of `old` are let go.

    Args:
        old, new: Sorted; `new` has as many keys or more. Values are int64 [e, measures] totals with `sums`, else int32 [e].
    """
    offsets = np.append(old[0], np.full(len(new[0]) - len(old[0]), old[0][-1], np.int64)).astype(np.int64)
    old, counts = (offsets, *old[1:]), (np.diff(offsets), np.diff(new[0]))
    both = np.flatnonzero((counts[0] > 0) & (counts[1] > 0))
    if (old[1][old[0][both + 1] - 1] <= new[1][new[0][both]]).all():
        return _appended(old, new, sums=sums)
    return _sorted(old, new, sums=sums)


def _appended(old: _Parts, new: _Parts, *, sums: bool) -> _Parts:
    """Join entries of which the new ones of a key follow the old ones."""
    offsets, lengths = old[0] + new[0], np.diff(new[0])
    places = np.repeat(offsets[1:] - new[0][1:], lengths) + np.arange(len(new[1]))
    kept = np.ones(int(offsets[-1]), bool)
    kept[places] = False
    times, values = np.empty(len(kept), np.int64), np.empty((len(kept), *new[2].shape[1:]), new[2].dtype)
    times[kept], times[places], values[kept] = old[1], new[1], old[2]
    let_go(old[1:])
    values[places] = new[2] + np.repeat(_last(old), lengths, axis=0) if sums else new[2]
    return offsets, times, values


def _last(parts: _Parts) -> np.ndarray:
    """Return int64 [keys, measures]: the totals of every key at its end."""
    offsets, _, values = parts
    if not len(values):
        return np.zeros((len(offsets) - 1, values.shape[1]), np.int64)
    return np.where((np.diff(offsets) > 0)[:, None], values[np.maximum(offsets[1:] - 1, 0)], 0)


def _sorted(old: _Parts, new: _Parts, *, sums: bool) -> _Parts:
    """Join entries that lie between each other."""
    keys = np.concatenate([owners(old[0]), owners(new[0])])
    times = np.concatenate([old[1], new[1]])
    values = np.concatenate([_single(*old), _single(*new)] if sums else [old[2], new[2]])
    order = by_key_and_time(keys, times)
    offsets = old[0] + new[0]
    return offsets, times[order], totals(values.T, order, offsets, values.shape[1]) if sums else values[order]


def _single(offsets: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return int64 [e, measures]: what each entry added."""
    if not len(values):
        return values
    added: np.ndarray = np.diff(values, axis=0, prepend=values[:1])
    first = offsets[:-1][np.diff(offsets) > 0]
    added[first] = values[first]
    return added
