"""The whole way from sources to split rows, shared by `open_dataset` and `inspect`."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.data.events import Events, select_events
from autorec_kernel.data.limits import Limits
from autorec_kernel.data.names import ROLE_NAMES, likely, normal
from autorec_kernel.data.overrides import Overrides, check_overrides
from autorec_kernel.data.protocol import GONE, settle_protocol
from autorec_kernel.data.side import understand_side
from autorec_kernel.data.source import Raw, fingerprint, read_parts, read_source
from autorec_kernel.data.splits import TEST, TRAIN, VALID
from autorec_kernel.data.understand import Understood, understand_events
from autorec_kernel.errors import DataError, UnknownNameError, UsageError
from autorec_kernel.records.dataset import MISSING_TIME, Protocol, Task
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Coded

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["TASKS", "Explained", "Options", "Prepared", "Sources", "explain", "prepare", "read_sources"]

TASKS: tuple[Task, ...] = ("recommend", "rate", "click")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may say about the data."""

    task: Task = "recommend"
    roles: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    protocol: str | None = None
    positive_threshold: float | None = None
    deduplicate: str | None = None
    seed: int = 0
    shares: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """The raw tables."""

    events: Raw
    users: Raw | None
    items: Raw | None

    @property
    def fingerprint(self) -> str:
        """Return one sha256 (hex) over all sources."""
        return fingerprint(*(raw.digest if raw is not None else "" for raw in (self.events, self.users, self.items)))


@dataclass(frozen=True, slots=True)
class Explained:
    """Every column with role, kind and reason, before the task is looked at."""

    events: Understood
    users: Understood
    items: Understood

    @property
    def schema(self) -> Schema:
        """Return the columns of all tables."""
        return Schema((*self.events.columns, *self.users.columns, *self.items.columns))

    @property
    def session(self) -> bool:
        """Return whether a session serves as user."""
        name = normal(self.events.name("user") or "")
        return "session" in name or name in ROLE_NAMES["session"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows with their part (-1 = dropped as a repetition) and the protocol that gave it."""

    events: Events
    protocol: Protocol
    part: np.ndarray
    notes: tuple[str, ...]


def read_sources(source: Any, users: Any, items: Any, *, kernel: Kernel | None, limits: Limits | None = None) -> Sources:
    """Read the event table and the side tables: those that are given, else those that a reader finds in the source."""
    given = {"users": users, "items": items}
    found = {name: read_source(other, kernel=kernel, limits=limits) for name, other in given.items() if other is not None}
    return Sources(**{**dict.fromkeys(given), **read_parts(source, kernel=kernel, limits=limits), **found})  # type: ignore[arg-type]


def explain(sources: Sources, options: Options) -> Explained:
    """Find roles and kinds in all tables.

    Raises:
        UsageError: An override names a column, role or kind that does not exist.
        DataError: A column does not hold what it should.
    """
    if options.task not in TASKS:
        raise UnknownNameError("task", options.task, TASKS, hint=f"choose one of {', '.join(TASKS)}")
    columns = {"events": sources.events.columns, "users": _columns(sources.users), "items": _columns(sources.items)}
    roles = check_overrides("role", options.roles, columns)  # type: ignore[arg-type]
    kinds = check_overrides("kind", options.kinds, columns)  # type: ignore[arg-type]
    events = understand_events(
        sources.events, roles=roles["events"], kinds=kinds["events"], task=options.task, threshold=options.positive_threshold
    )
    nothing = Understood((), type(events.table)())
    users = nothing if sources.users is None else _side(sources.users, "users", events, roles, kinds)
    items = nothing if sources.items is None else _side(sources.items, "items", events, roles, kinds)
    return Explained(events, users, items)


def prepare(sources: Sources, explained: Explained, options: Options) -> Prepared:
    """Select and split the rows for the task.

    Raises:
        DataError: The task cannot be done on this table; the hint says what is missing.
    """
    where, task, threshold = sources.events.name, options.task, options.positive_threshold
    _check_columns(sources, explained, options)
    events = select_events(explained.events, task, threshold, where)
    session = explained.session
    protocol, part, settled = settle_protocol(
        events,
        task,
        wanted=options.protocol,
        deduplicate=options.deduplicate,
        threshold=threshold,
        seed=options.seed,
        session=session,
        shares=options.shares,
    )
    if count := int((part == GONE).sum()):
        events.dropped["repeated (user, item) pair"] = count
    notes = (*explained.events.notes, *explained.users.notes, *explained.items.notes, *settled, *_warnings(events), *_cold(events, part))
    _check_training(events, part, task, where)
    return Prepared(events, protocol, part, notes)


def _columns(raw: Raw | None) -> dict[str, Any]:
    return raw.columns if raw is not None else {}


def _side(raw: Raw, source: Any, events: Understood, roles: Overrides, kinds: Overrides) -> Understood:
    role = {"users": "user", "items": "item"}[source]
    name = events.name(role)
    if name is None:
        raise DataError(f"a table of {source} needs a {role} column in the events", where=raw.name, hint=f"--role COLUMN={role}")
    column = events.table[name]
    assert isinstance(column, Coded)
    return understand_side(raw, source, column, name, roles=roles[source], kinds=kinds[source])


def _check_columns(sources: Sources, explained: Explained, options: Options) -> None:
    task, where, names = options.task, sources.events.name, list(sources.events.columns)
    for role in ("user", "item") if task == "recommend" else ():
        if explained.events.name(role) is None:
            article = "an" if role == "item" else "a"
            told = f"task 'recommend' needs {article} {role} column; found {', '.join(names[:12]) or 'no columns'}"
            free = [column.name for column in explained.events.columns if column.role in ("feature", "ignore")]
            meant = likely(role, free)
            hint = f"did you mean {meant!r}? --role {meant}={role}" if meant else f"name it: --role COLUMN={role}"
            raise DataError(told, where=where, hint=hint)
    needs_label = task != "recommend" or options.positive_threshold is not None
    if needs_label and explained.events.name("label") is None:
        extra = " with a positive threshold" if task == "recommend" else ""
        told = f"task {task!r}{extra} needs a label column; found {', '.join(names[:12])}"
        raise DataError(told, where=where, hint="name it: --role COLUMN=label")
    if task == "rate" and options.positive_threshold is not None:
        raise UsageError("task 'rate' predicts the label itself and takes no positive threshold", hint="use --task click")


def _check_training(events: Events, part: np.ndarray, task: Task, where: str) -> None:
    label = events.array("label")
    if task == "click" and label is not None and len(np.unique(label[part == TRAIN])) < 2:
        raise DataError("the training part has a single class of label", where=where, hint="use --protocol random, or give more rows")


def _cold(events: Events, part: np.ndarray) -> list[str]:
    notes = []
    for role in ("user", "item"):
        column = events.ids(role)
        if column is None:
            continue
        seen = np.zeros(len(column.values), dtype=bool)
        seen[column.codes[part == TRAIN]] = True
        for place, name in ((VALID, "validation"), (TEST, "test")):
            there = np.flatnonzero(np.bincount(column.codes[part == place], minlength=1))
            if cold := int((~seen[there]).sum()):
                notes.append(f"{cold:,} of {len(there):,} {role}s of the {name} part do not occur in training")
    return notes


def _warnings(events: Events) -> list[str]:
    notes = []
    stamps = events.array("time")
    tomorrow = (int(time.time()) + 86_400) * 1_000_000_000
    if stamps is not None and (late := int((stamps > tomorrow).sum())):
        notes.append(f"{late:,} rows lie in the future (later than tomorrow)")
    if stamps is not None and events.kind != "time":
        known = float((stamps != MISSING_TIME).mean())
        notes.append(f"the time is known for {known:.0%} of the rows only, which is too little for a clock")
    for role in ("user", "item"):
        column = events.ids(role)
        twins = _near_duplicates(column.values) if column is not None else []
        if twins:
            notes.append(f"{role} ids that look alike are kept apart, for example {twins[0]!a} and {twins[1]!a}")
    return notes


def _near_duplicates(values: np.ndarray) -> list[str]:
    """Return two ids that differ only in unicode form, blanks or invisible characters; plain ids are not looked at one by one."""
    text = pa.array(values, pa.large_string())
    odd = pc.or_(pc.invert(pc.string_is_ascii(text)), pc.match_substring_regex(text, r"^\s|\s$"))
    seen: dict[str, str] = {}
    plain = set(values)
    for value in values[np.asarray(odd.to_numpy(zero_copy_only=False), dtype=bool)]:
        simple = re.sub("[\u200b-\u200f\u2060\ufeff]", "", unicodedata.normalize("NFC", str(value))).strip()
        other = seen.setdefault(simple, str(value))
        if other != value or (simple != value and simple in plain):
            return [str(value), other if other != value else simple]
    return []
