"""`inspect`: what the kernel understood of a table, without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.data.limits import Limits
from autorec_kernel.data.prepare import TASKS, Explained, Options, Prepared, Sources, explain, prepare, read_sources
from autorec_kernel.data.splits import TEST, TRAIN, VALID
from autorec_kernel.errors import AutoRecError, DataError
from autorec_kernel.records.dataset import Protocol, Task
from autorec_kernel.records.schema import Schema

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was understood.

    Args:
        source: Name of the event table.
        schema: Every column with role, kind and reason.
        rows: Table -> rows read.
        counts: users, items, train, valid, test: how many take part under the task shown.
        dropped: Reason -> rows dropped.
        task: The task shown; None = none is possible.
        tasks: Task -> "" when possible, else what is missing.
        protocol: The protocol chosen for that task, with its reason.
        notes: Warnings.
        problem: Why no task is possible; None when one is.
    """

    source: str
    schema: Schema
    rows: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    task: Task | None = None
    tasks: dict[str, str] = field(default_factory=dict)
    protocol: Protocol | None = None
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    problem: AutoRecError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        protocol = None if self.protocol is None else {**asdict(self.protocol), "id": self.protocol.id}
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "counts": self.counts,
            "dropped": self.dropped,
            "task": self.task,
            "tasks": self.tasks,
            "protocol": protocol,
            "columns": self.schema.to_json(),
            "notes": list(self.notes),
            "problem": None if self.problem is None else str(self.problem),
        }


def inspect(
    source: Any,
    *,
    users: Any = None,
    items: Any = None,
    task: Task | None = None,
    roles: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    protocol: str | None = None,
    positive_threshold: float | None = None,
    deduplicate: str | None = None,
    seed: int = 0,
    kernel: Kernel | None = None,
    limits: Limits | None = None,
) -> Inspection:
    """Explain a table: arguments as for `open_dataset`; without `task` the first possible of recommend, click, rate is shown.

    Raises:
        DataError: The table cannot be read; or `task` is given and not possible. (Without `task` the reason is in `problem`.)
        UsageError: An argument is wrong.
    """
    options = Options(task or "recommend", roles or {}, kinds or {}, protocol, positive_threshold, deduplicate, seed)
    sources = read_sources(source, users, items, kernel=kernel, limits=limits)
    if task is not None:
        explained = explain(sources, options)
        return _described(sources, explained, task, prepare(sources, explained, options), {})
    return _first_possible(sources, options)


def _first_possible(sources: Sources, options: Options) -> Inspection:
    found: dict[Task, tuple[Explained, Prepared]] = {}
    faults: dict[Task, DataError] = {}
    for task in TASKS:
        choice = replace(options, task=task, positive_threshold=None if task == "rate" else options.positive_threshold)
        try:
            explained = explain(sources, choice)
            found[task] = (explained, prepare(sources, explained, choice))
        except DataError as error:
            faults[task] = error
    tasks: dict[str, str] = {task: f"{faults[task].message} ({faults[task].hint})" if task in faults else "" for task in TASKS}
    for task in sorted(TASKS, key=("recommend", "click", "rate").index):
        if task in found:
            explained, ready = found[task]
            return _described(sources, explained, task, ready, tasks)
    return replace(_undescribed(sources, options), tasks=dict(tasks), problem=faults["recommend"])


def _undescribed(sources: Sources, options: Options) -> Inspection:
    """Show the columns although no task is possible; a table whose columns cannot even be explained raises."""
    explained = explain(sources, replace(options, task="recommend", positive_threshold=None))
    return Inspection(sources.events.name, explained.schema, _rows(sources), notes=explained.events.notes, fingerprint=sources.fingerprint)


def _described(sources: Sources, explained: Explained, task: Task, ready: Prepared, tasks: Mapping[str, str]) -> Inspection:
    found = {role: ready.events.ids(role) for role in ("user", "item")}
    counts = {f"{role}s": int(np.count_nonzero(column.counts())) for role, column in found.items() if column is not None}
    counts |= {name: int((ready.part == part).sum()) for name, part in (("train", TRAIN), ("valid", VALID), ("test", TEST))}
    return Inspection(
        sources.events.name,
        explained.schema,
        _rows(sources),
        counts,
        dict(ready.events.dropped),
        task,
        dict(tasks),
        ready.protocol,
        ready.notes,
        sources.fingerprint,
    )


def _rows(sources: Sources) -> dict[str, int]:
    named = (("events", sources.events), ("users", sources.users), ("items", sources.items))
    return {name: raw.rows for name, raw in named if raw is not None}
