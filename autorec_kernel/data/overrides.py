"""What the user said about columns (`--role col=role`, `--kind col=kind`), checked and handed to the table it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.records.schema import KINDS, ROLES, Source

__all__ = ["Overrides", "check_overrides"]

Overrides = dict[Source, dict[str, str]]
_SOURCES: tuple[Source, ...] = ("events", "users", "items")


def check_overrides(what: str, said: Mapping[str, str], columns: Mapping[Source, Iterable[str]]) -> Overrides:
    """Return the statements table by table.

    Args:
        what: `role` or `kind`.
        said: Column -> value. A column is named alone, or as `users.COLUMN`, `items.COLUMN`, `events.COLUMN`; alone it means every table
            that has it, except that roles other than feature and ignore belong to the events.
        columns: Column names of each table.

    Raises:
        UsageError: No table has the column, or the value is not a role or kind (the nearest name is offered).
    """
    known = {source: set(names) for source, names in columns.items()}
    out: Overrides = {source: {} for source in _SOURCES}
    for name, value in said.items():
        _check_value(what, value)
        for source, column in _places(what, name, value, known):
            out[source][column] = value
    return out


def _check_value(what: str, value: str) -> None:
    choices = ROLES if what == "role" else KINDS
    if value not in choices:
        raise UnknownNameError(f"column {what}", value, choices, hint=f"choose one of {', '.join(choices)}")


def _places(what: str, name: str, value: str, known: Mapping[Source, set[str]]) -> list[tuple[Source, str]]:
    head, _, tail = name.partition(".")
    for source in _SOURCES:
        if head == source and tail in known.get(source, set()) and not any(name in names for names in known.values()):
            return [(source, tail)]
    found: list[tuple[Source, str]] = [(source, name) for source in _SOURCES if name in known.get(source, set())]
    if not found:
        every = sorted(set().union(*known.values()))
        raise UnknownNameError("column", name, every, hint=f"the columns are {', '.join(every[:20])}")
    if what == "role" and value not in ("feature", "ignore"):
        return _role_places(name, value, found)
    return found


def _role_places(name: str, value: str, found: list[tuple[Source, str]]) -> list[tuple[Source, str]]:
    events = [place for place in found if place[0] == "events"]
    side = [place for place in found if (place[0], value) in (("users", "user"), ("items", "item"))]
    if not events and not side:
        told = f"column {name!r} is not in the events, so its role cannot be {value!r}"
        raise UsageError(told, hint="columns of side tables take feature and ignore")
    return events or side
