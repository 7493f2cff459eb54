"""`AsOfTable`: the running state of every key after each of its events, read strictly before any moment (numpy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records.entries import Orders, by_key_and_time, joined_entries, totals
from autorec_kernel.records.lists import listed, offsets_of, unlisted
from autorec_kernel.records.measure import FRACTION, Measure
from autorec_kernel.records.table import MISSING_TIME

__all__ = ["FOREVER", "AsOfTable", "Measure", "bisect_left", "gather_last"]

FOREVER = 2**62  # ns: this very moment (in 2116) means the end of the table; every other one, later ones too, is a moment
_LAST = 2**63 - 1  # ns: the latest moment there is
_FEW = 4  # measures up to which columns are quicker than rows


@dataclass(frozen=True, slots=True, eq=False)
class AsOfTable:
    """States of keys in order of time; key 0 = unknown and empty.

    A `sum` table answers with running totals, a `sequence` table with the last values. `time` = "" means that no global clock orders
    the events of different users: reading then always gives the state at the end, and `fold` adds nothing.

    One event may count for several keys (an item's genres): its key column is then a matrix [n, W] in which 0 stands for none.

    A missing clock (`MISSING_TIME`) comes before every other: nothing happened before it, so a row without a clock reads the state of an
    unknown key, and an event without one is the oldest of its key.

    Args:
        offsets: int64 (int32 once trimmed) [keys + 1]; key k owns events offsets[k]:offsets[k + 1], in order of time.
        times: int64 [events], or empty for a table that only knows its latest state.
        values: int64 [events, measures], totals after each event in fixed point (`sum`), or int32 [events] (`sequence`).
        key, time, where: Event columns that say whose event it is, when it was, and whether it counts ("" = always).
        measures: What an event adds (`sum`), or ().
        value: Event column that a `sequence` keeps.
    """

    offsets: np.ndarray
    times: np.ndarray
    values: np.ndarray
    kind: Literal["sum", "sequence"] = "sum"
    key: str = "@user"
    time: str = "@clock"
    where: str = ""
    measures: tuple[Measure, ...] = field(default=(Measure(),))
    value: str = "@item"
    _stored: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        events = len(self.values)
        if len(self.offsets) < 1 or self.offsets[0] != 0 or self.offsets[-1] != events or len(self.times) not in (0, events):
            raise BundleError("an as-of table is damaged: its offsets do not describe its events")

    @classmethod
    def sums(
        cls, events: Mapping[str, Any], keys: int, *, key: str, time: str = "@clock", measures: Sequence[Measure], where: str = ""
    ) -> AsOfTable:
        """Return running totals of `measures` a key.

        Args:
            events: Event columns; `key` int64 rows below `keys`, `time` int64.
            keys: Number of keys, key 0 included.
        """
        empty = np.zeros((0, len(measures)), np.int64)
        blank = cls(np.zeros(keys + 1, np.int64), np.zeros(0, np.int64), empty, "sum", key, time, where, tuple(measures), "")
        return blank._with(events)

    @classmethod
    def sequence(
        cls, events: Mapping[str, Any], keys: int, *, key: str = "@user", time: str = "@order", value: str = "@item", where: str = ""
    ) -> AsOfTable:
        """Return the values of every key, oldest first."""
        zero = np.zeros(0, np.int64)
        blank = cls(np.zeros(keys + 1, np.int64), zero, zero.astype(np.int32), "sequence", key, time, where, (), value)
        return blank._with(events)

    @property
    def keys(self) -> int:
        """Return the number of keys, key 0 included."""
        return len(self.offsets) - 1

    def before(self, keys: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return int64 [n]: the entry of each key up to which its events lie strictly before `times`."""
        keys = self._known(keys)
        return bisect_left(self.times, self.offsets[keys], self.offsets[keys + 1], times)

    def read(self, keys: np.ndarray, times: np.ndarray, length: int = 0, *, at: np.ndarray | None = None) -> np.ndarray:
        """Return the state strictly before `times`.

        Args:
            keys: int64 [n]; keys outside the table read as unknown.
            times: int64 [n].
            length: Steps of a sequence.
            at: What `before` gave, where somebody asked already; so in `within`, `newest` and `since`.

        Returns:
            float64 [n, measures] totals, or int64 [n, length] values, oldest first, padded with 0 on the right.
        """
        if not self.time or not len(self.times):
            return self.latest(keys, length)
        at = self.before(keys, times) if at is None else at
        return self._state(self.offsets[self._known(keys)], at, length)

    def within(self, keys: np.ndarray, times: np.ndarray | None, window: int, *, at: np.ndarray | None = None) -> np.ndarray:
        """Return float64 [n, measures]: totals of the events strictly before `times` (None = the end) and at or after `times - window`.

        Totals are 0 where the clock is missing; a window that begins before int64 does holds everything before the row. `window` is
        cut to int64 (292 years).
        """
        ends, window = self._moments(keys, times), min(window, _LAST)
        starts = np.maximum(ends, MISSING_TIME + window) - window
        return np.asarray((self.latest(keys) if times is None else self.read(keys, ends, at=at)) - self.read(keys, starts))

    def newest(self, keys: np.ndarray, times: np.ndarray | None, count: int, *, at: np.ndarray | None = None) -> np.ndarray:
        """Return float64 [n, measures]: totals of the last `count` events strictly before `times` (None = the end)."""
        keys = self._known(keys)
        start = self.offsets[keys]
        if at is None:
            at = self.offsets[keys + 1] if times is None or not len(self.times) else self.before(keys, self._moments(keys, times))
        return np.asarray(self._state(start, at, 0) - self._state(start, np.maximum(at - count, start), 0))

    def since(self, keys: np.ndarray, times: np.ndarray | None, *, first: bool = False, at: np.ndarray | None = None) -> np.ndarray:
        """Return float64 [n]: the time from the last (or first) event before `times` (None = the end) to it.

        NaN where there is none, and where the clock of that event is missing.
        """
        keys, ends = self._known(keys), self._moments(keys, times)
        start = self.offsets[keys]
        if at is None:
            at = self.before(keys, ends) if len(self.times) else start
        seen = self.times[np.clip(start if first else at - 1, 0, max(len(self.times) - 1, 0))] if len(self.times) else ends
        age = ends.astype(np.uint64) - seen.astype(np.uint64)  # modulo 2^64: exact for moments in order, however far apart
        return np.where((at > start) & (seen != MISSING_TIME), age.astype(np.float64), np.nan)

    @property
    def end(self) -> int:
        """Return the moment after the newest event of any key: when `latest` is read."""
        return min(int(self.times.max()) + 1, _LAST) if len(self.times) else 0

    def _moments(self, keys: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        return np.full(len(keys), self.end, np.int64) if times is None else np.where(times == FOREVER, self.end, times)

    def latest(self, keys: np.ndarray, length: int = 0) -> np.ndarray:
        """Return the state after every event; shapes as `read`."""
        keys = self._known(keys)
        return self._state(self.offsets[keys], self.offsets[keys + 1], length)

    def given(self, counts: np.ndarray) -> np.ndarray:
        """Return float64 [n, measures]: the state of keys of which only the number of events is known."""
        known = np.array([measure.count and not measure.column for measure in self.measures], dtype=np.float64)
        return np.asarray(np.asarray(counts, dtype=np.float64)[:, None] * known)

    def fold(self, events: Mapping[str, Any], *, anew: bool = False, orders: Orders | None = None) -> AsOfTable:
        """Return the table with later events added, those of new keys too; equal to a table built from all of them at once.

        Args:
            anew: These events replace those of the table.
            orders: How other tables sorted these very events, and this one: tables of the same columns then share what they hold of them.
        """
        blank = self._replaced(np.zeros(2, np.int64), self.times[:0], self.values[:0]) if anew else self
        return blank._with(events, grows=True, orders=orders) if self.time or anew else self

    def trimmed(self, length: int) -> AsOfTable:
        """Return a table that only answers `latest`, with sequences cut to the last `length`."""
        counts = np.minimum(np.diff(self.offsets), length if self.kind == "sequence" else 1)
        offsets = offsets_of(counts)
        index = np.repeat(self.offsets[1:] - counts - offsets[:-1], counts) + np.arange(offsets[-1])
        small = offsets.astype(np.int32) if offsets[-1] < 2**31 else offsets
        return self._replaced(small, np.zeros(0, np.int64), self.values[index])

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as plain JSON values."""
        measures = [asdict(measure) for measure in self.measures]
        return {"kind": self.kind, "key": self.key, "time": self.time, "where": self.where, "measures": measures, "value": self.value}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store, the same ones at every call: bundles store each once."""
        if not self._stored:
            self._stored.update({**listed(self.offsets), "times": self.times, "values": self.values})
        return self._stored

    @classmethod
    def load(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], prefix: str = "") -> AsOfTable:
        """Read what `to_json` and `arrays` returned."""
        measures = tuple(Measure(**measure) for measure in meta["measures"])
        times, values = (np.asarray(arrays[f"{prefix}{name}"]) for name in ("times", "values"))
        return cls(unlisted(arrays, prefix), times, values, **{**meta, "measures": measures})

    def _known(self, keys: np.ndarray) -> np.ndarray:
        keys = np.asarray(keys, dtype=np.int64)
        strange = keys.view(np.uint64) >= self.keys  # a negative one is the largest
        return np.where(strange, 0, keys) if np.count_nonzero(strange) else keys

    def _state(self, start: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
        if self.kind == "sequence":
            return gather_last(self.values, start, end, length)
        if not len(self.values):
            return np.zeros((len(start), len(self.measures)))
        total: np.ndarray = self.values.take(np.maximum(end - 1, 0), axis=0).astype(np.float64)
        units = [1.0 if measure.count else 2.0**-FRACTION for measure in self.measures]
        if len(units) > _FEW:
            total *= units
        else:  # numpy is slow along short rows
            for column in (number for number, unit in enumerate(units) if unit != 1):
                total[:, column] *= units[column]
        total[end <= start] = 0.0
        return total

    def _with(self, events: Mapping[str, Any], *, grows: bool = False, orders: Orders | None = None) -> AsOfTable:
        orders, memo = {} if orders is None else orders, (self.key, self.time, self.where, self.keys)
        if memo not in orders:
            orders[memo] = self._sorted(events, grows=grows)
        found = *orders[memo][1:], self._values(events, *orders[memo][:2])
        old = self.offsets, self.times, self.values
        return self._replaced(*(joined_entries(old, found, sums=self.kind == "sum") if len(self.values) else found))

    def _sorted(self, events: Mapping[str, Any], *, grows: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (the event of each entry in the table's order [e], offsets int64 [keys + 1], times int64 [e])."""
        keys, rows, times = self._entries(events)
        size = max(self.keys, int(keys.max(initial=0)) + 1)
        if size > self.keys and not grows:
            raise ContractError(f"as-of table over {self.key!r}: a key lies outside its {self.keys} keys")
        order = by_key_and_time(keys, times, rows)
        rows = order if rows is None else rows[order]
        return rows, offsets_of(np.bincount(keys, minlength=size)), times[rows]

    def _entries(self, events: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return (keys int64 [e], the event of each, int64 [e], or None where every event is one entry, times int64 [n])."""
        keys = np.asarray(events[self.key], dtype=np.int64)
        width = keys.shape[1] if keys.ndim == 2 else 1
        keys = keys.reshape(-1)
        if len(keys) and keys.min() < 0:
            raise ContractError(f"as-of table over {self.key!r}: a key lies below 0")
        times = np.asarray(events[self.time], dtype=np.int64) if self.time else np.zeros(len(keys) // width, np.int64)
        kept = keys != 0
        if self.where:
            kept &= np.repeat(np.asarray(events[self.where]) != 0, width)
        if width == 1 and kept.all():
            return keys, None, times
        rows = np.flatnonzero(kept).astype(np.int32 if len(kept) < 2**31 else np.int64)
        return keys[kept], rows // width, times

    def _values(self, events: Mapping[str, Any], rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        if self.kind == "sequence":
            return np.asarray(np.asarray(events[self.value]).astype(np.int32)[rows])
        count = len(np.asarray(events[self.key]))
        added = (measure.all_added(events[measure.column] if measure.column else None, count) for measure in self.measures)
        return totals(added, rows, offsets, len(self.measures))

    def _replaced(self, offsets: np.ndarray, times: np.ndarray, values: np.ndarray) -> AsOfTable:
        return AsOfTable(offsets, times, values, self.kind, self.key, self.time, self.where, self.measures, self.value)


def bisect_left(times: np.ndarray, start: np.ndarray, end: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return int64 [n]: the first position of each sorted segment times[start:end] that is not below `wanted`."""
    low, high = start.astype(np.int64), end.astype(np.int64)
    for _ in range(int(np.max(high - low, initial=0)).bit_length()):
        middle = (low + high) >> 1
        below = (low < high) & (times[np.minimum(middle, len(times) - 1)] < wanted)
        low, high = np.where(below, middle + 1, low), np.where(below, high, np.minimum(middle, high))
    return low


def gather_last(values: np.ndarray, start: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
    """Return int64 [n, length]: the last values of each segment values[start:end], oldest first, padded with 0 on the right."""
    first = np.maximum(start, end - length)
    index = first[:, None] + np.arange(length)
    inside = index < end[:, None]
    if not len(values):
        return np.zeros(index.shape, np.int64)
    return np.where(inside, values[np.where(inside, index, 0)], 0).astype(np.int64)
