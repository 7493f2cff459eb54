"""`open_dataset`: the one door from a table to a `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.data.limits import Limits
from autorec_kernel.data.prepare import Options, Prepared, explain, prepare, read_sources
from autorec_kernel.data.splits import TEST, TRAIN, VALID, rank_from_end
from autorec_kernel.records.dataset import CLOCK, ORDER, TARGET, Dataset, SealedView, Task
from autorec_kernel.records.table import Table

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["open_dataset"]

_PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}


def open_dataset(
    source: Any,
    *,
    users: Any = None,
    items: Any = None,
    task: Task = "recommend",
    roles: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    protocol: str | None = None,
    positive_threshold: float | None = None,
    deduplicate: str | None = None,
    seed: int = 0,
    shares: tuple[float, float, float] | None = None,
    kernel: Kernel | None = None,
    limits: Limits | None = None,
) -> Dataset:
    """Read, understand and split a table of events.

    Args:
        source: Path of a CSV, TSV or Parquet file (plain or gzip), a pandas frame, an arrow table, or what a reader plugin accepts.
        users, items: Tables with one row a user or item, of the same sorts; None = none.
        task: recommend (every row is a positive) | rate (numeric label) | click (label 0 or 1).
        roles, kinds: Column -> role or kind where inference is to be overruled; `users.COLUMN` and `items.COLUMN` name side columns.
        protocol: given | temporal | leave-one-out | random; None = the first of these that the columns allow.
        positive_threshold: recommend: rows with a smaller label are dropped; click: the label becomes 1 at or above it.
        deduplicate: none | last; None = the default of the protocol.
        seed: Of the random split; the split depends on the rows and this number, not on the order of the rows.
        shares: Of training, validation and test rows of a random split; None = 0.8, 0.1 and 0.1.
        kernel: Where reader plugins are found; None = built-in readers only.
        limits: Largest sizes accepted.

    Raises:
        DataError: The table cannot be used as it stands (where, and how to fix it).
        UsageError: An argument is wrong.
    """
    options = Options(task, roles or {}, kinds or {}, protocol, positive_threshold, deduplicate, seed, shares)
    sources = read_sources(source, users, items, kernel=kernel, limits=limits)
    explained = explain(sources, options)
    ready = prepare(sources, explained, options)
    rows = {name: _rows(ready, part) for name, part in _PARTS.items()}
    test = _test_table(ready, rows["test"])
    return Dataset(
        schema=explained.schema,
        train=_table(ready, rows["train"]),
        valid=_table(ready, rows["valid"]),
        test=SealedView(lambda: test, test.rows),
        protocol=ready.protocol,
        users=explained.users.table,
        items=explained.items.table,
        fingerprint=sources.fingerprint,
        notes=(*(f"{count:,} rows dropped: {reason}" for reason, count in ready.events.dropped.items()), *ready.notes),
        row_ids={name: ready.events.rows[places] for name, places in rows.items()},
    )


def _rows(ready: Prepared, part: int) -> np.ndarray:
    places = np.flatnonzero(ready.part == part)
    return places[np.argsort(ready.events.order[places], kind="stable")]


def _table(ready: Prepared, places: np.ndarray) -> Table:
    events = ready.events
    return events.table.take(places).compact().with_columns({ORDER: events.order[places], CLOCK: events.clock[places]})


def _test_table(ready: Prepared, places: np.ndarray) -> Table:
    target = np.ones(len(places), dtype=np.int8)
    user = ready.events.ids("user")
    if ready.protocol.target == "last" and user is not None:
        back, size = rank_from_end(user.codes[places], ready.events.order[places])
        target = ((back == 0) & (size >= 2)).astype(np.int8)
    return _table(ready, places).with_columns({TARGET: target})
