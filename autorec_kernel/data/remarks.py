"""Remarks about columns whose name promises more than the kernel could use: times that cannot be read, answers that nobody asked for."""

from __future__ import annotations

from collections.abc import Mapping

from autorec_kernel.data.labels import is_answer
from autorec_kernel.data.names import ROLE_NAMES, label_names, normal
from autorec_kernel.data.profile import Profile
from autorec_kernel.records.dataset import Task
from autorec_kernel.records.schema import Column

__all__ = ["counted_answers", "unread_times"]

_SAID = "you said so"


def unread_times(columns: list[Column], facts: Mapping[str, Profile]) -> list[str]:
    """Return a note for every column that is named like a time and holds none; nothing where another column is the time."""
    if any(column.role == "time" for column in columns):
        return []
    ordered = any(column.role == "position" for column in columns)
    effect = "it is no clock" if ordered else "the order of the events is unknown"
    return [_unread(column.name, facts[column.name], effect) for column in columns if _promises_time(column, facts[column.name])]


def counted_answers(columns: list[Column], facts: Mapping[str, Profile], task: Task, threshold: float | None) -> list[str]:
    """Return a note for every column of answers (yes and no, 1 and 0) whose rows all count as positives under `recommend`."""
    names = {*label_names("click"), *label_names("recommend")}
    if task != "recommend" or threshold is not None:
        return []
    return [_answers(column, facts[column.name]) for column in columns if normal(column.name) in names and _is_asked(column, facts)]


def _promises_time(column: Column, facts: Profile) -> bool:
    free = column.role in ("feature", "ignore") and not column.reason.startswith(_SAID) and column.kind != "time"
    return free and normal(column.name) in ROLE_NAMES["time"] and facts.distinct > 0


def _unread(name: str, facts: Profile, effect: str) -> str:
    shown = f" (for example {str(facts.column.values[0])[:40]!r})" if facts.column is not None and len(facts.column.values) else ""
    fix = "convert it to ISO 8601, like 2024-05-01T12:30:00Z, or name another column: --role COLUMN=time"
    return (
        f"column {name!r} is named like a time, but its values{shown} are not read as one, so {effect}; {fix} (--kind {name}=KIND keeps it)"
    )


def _is_asked(column: Column, facts: Mapping[str, Profile]) -> bool:
    values = facts[column.name].column
    silent = column.role in ("feature", "ignore") and column.reason.startswith(_SAID)
    return column.role in ("feature", "ignore", "label") and not silent and values is not None and is_answer(values.values)


def _answers(column: Column, facts: Profile) -> str:
    assert facts.column is not None
    shown = " and ".join(sorted(str(value)[:20] for value in facts.column.values))
    role = "" if column.role == "label" else f"--role {column.name}=label "
    told = f"column {column.name!r} holds {shown}, and under task 'recommend' its rows count as positives whatever it says"
    return f"{told}; {role}--positive-threshold 1 keeps the positive rows only, --task click learns the difference"
