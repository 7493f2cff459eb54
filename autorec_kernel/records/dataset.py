"""`Dataset`: a table understood and split; its test rows stay sealed until the plan is fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import MISSING_TIME, Table, concat_columns

__all__ = ["CLOCK", "MISSING_TIME", "ORDER", "SHARES", "TARGET", "Clock", "Dataset", "Protocol", "SealedView", "Task"]

Task = Literal["recommend", "rate", "click"]
Clock = Literal["time", "position", "none"]
SHARES = (0.8, 0.1, 0.1)  # of training, validation and test rows in a random split, unless a recipe says otherwise
ORDER = "@order"  # int64 column of every event table: rank by (clock, position, row), unique; the written tie-break
CLOCK = "@clock"  # int64 column of every event table: time (ns) or position or 0; equal values do not see each other in aggregates
TARGET = "@target"  # int8 column of the test events: 1 = judged, 0 = input only (the earlier events of a session that training never saw)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the rows were split and are judged; its `id` stands beside every number.

    Args:
        split: given | temporal | leave-one-out | random.
        clock: time (global) | position (inside one user) | none.
        state: cut (histories end where training ends) | rolling (the state just before each row).
        deduplicate: what happened to repeated (user, item) pairs: none | last.
        positive_threshold: Rows with a label at or above it are positive; None = every row is.
        target: how test rows are judged: all | last (sessions that training never saw: the last event given the ones before).
        shares: Training, validation and test shares of a random split.
    """

    split: Literal["given", "temporal", "leave-one-out", "random"]
    clock: Clock
    state: Literal["cut", "rolling"]
    deduplicate: Literal["none", "last"] = "none"
    positive_threshold: float | None = None
    target: Literal["all", "last"] = "all"
    seed: int = 0
    reason: str = ""
    shares: tuple[float, float, float] = SHARES

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(self.shares))

    @property
    def id(self) -> str:
        """Return e.g. `temporal/clock=time/state=cut/dedup=none/positive=all/target=all/seed=0`; shares are told where they are unusual."""
        positive = "all" if self.positive_threshold is None else f"{self.positive_threshold:g}"
        shares = "" if self.shares == SHARES else "/shares=" + "-".join(f"{share:g}" for share in self.shares)
        return (
            f"{self.split}/clock={self.clock}/state={self.state}/dedup={self.deduplicate}"
            f"/positive={positive}/target={self.target}/seed={self.seed}{shares}"
        )


class SealedView:
    """The test rows. Nothing but the pipeline opens them, once the plan is fixed; each opening is recorded."""

    __slots__ = ("_load", "_openings", "_plan", "_rows")

    def __init__(self, load: Callable[[], Table], rows: int) -> None:
        self._load = load
        self._rows = rows
        self._plan: str | None = None
        self._openings: list[str] = []

    @property
    def rows(self) -> int:
        """Return how many test rows there are."""
        return self._rows

    @property
    def openings(self) -> tuple[str, ...]:
        """Return the reasons of every opening so far."""
        return tuple(self._openings)

    def fix_plan(self, digest: str) -> None:
        """Declare the plan fixed: from here on the view may be opened."""
        self._plan = digest

    def open(self, reason: str) -> Table:
        """Return the test events.

        Raises:
            UsageError: The plan is not fixed yet.
        """
        if self._plan is None:
            raise UsageError("the test view is sealed until the plan is fixed", hint="read train and valid while searching")
        self._openings.append(reason)
        return self._load()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table of events with its split.

    `train` and `valid` hold the event columns of the schema whose role is not `ignore`, plus `ORDER` and `CLOCK`, oldest first
    (sorted by `ORDER`). The test view returns the same columns plus `TARGET`. Columns of strings hold only values of their own part.
    `users` and `items` hold one row an entity (the id column included) or are empty. `fingerprint` is the sha256 over the sources' bytes.
    """

    schema: Schema
    train: Table
    valid: Table
    test: SealedView
    protocol: Protocol
    users: Table = field(default_factory=Table)
    items: Table = field(default_factory=Table)
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    row_ids: dict[str, Any] = field(default_factory=dict)  # split name -> int64 row numbers in the source table

    def final(self) -> Dataset:
        """Return the data set on which the chosen model is refitted: validation rows join training."""
        columns = {name: concat_columns(self.train[name], self.valid[name]) for name in self.train}
        joined = Table(columns, self.train.rows + self.valid.rows)
        order = joined[ORDER]
        assert isinstance(order, np.ndarray)
        return replace(self, train=joined.take(np.argsort(order, kind="stable")), valid=self.valid.take(np.arange(0)))
