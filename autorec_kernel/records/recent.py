"""How much a state or a program still needs: for some features, at the end of its tables, for given histories, to take in later events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autorec_kernel.records.as_of import AsOfTable, bisect_left
from autorec_kernel.records.lists import offsets_of, owners
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.serving_state import ServingState

__all__ = ["cut", "for_histories", "longest", "named", "narrowed", "only", "recent"]

_FOREVER = 2**62  # ns: longer than any window


def longest(program: Program) -> int:
    """Return the longest history that a program reads."""
    return max((int(step.params.get("length", 1)) for step in program.steps if step.op == "as_of"), default=1)


def narrowed(state: ServingState, names: Collection[str]) -> ServingState:
    """Return the state that answers these features alone; others' tables, and what their programs read, are gone."""
    tables = {name: table for name, table in state.tables.items() if name in names}
    asked = {name: one for name, one in state.programs.items() if name in names}
    outputs: dict[int, set[str]] = {}
    for program, output in asked.values():
        outputs.setdefault(id(program), set()).add(output)
    less = {id(program): only(program, outputs[id(program)]) for program, _ in asked.values()}
    programs = {name: (less[id(program)], output) for name, (program, output) in asked.items()}
    return replace(state, schema=state.schema.only(names), tables=tables, programs=programs)


def only(program: Program, outputs: Collection[str]) -> Program:
    """Return the program that makes these outputs and holds nothing else; what its tables are folded from is gone."""
    steps, read = program.behind(outputs)
    inputs, made = (tuple(name for name in program.inputs if name in read), tuple(name for name in program.outputs if name in outputs))
    arrays, tables = named(program.arrays, steps), named(program.tables, steps)
    return replace(program, inputs=inputs, steps=tuple(steps), outputs=made, arrays=arrays, tables=tables)


def named(held: Mapping[str, Any], steps: Iterable[Step]) -> dict[str, Any]:
    """Return the arrays or tables that steps name: by their own name, or by that of their vocabulary."""
    names = {value for step in steps for value in step.params.values() if isinstance(value, str)}
    return {name: one for name, one in held.items() if name in names or name.rpartition(".")[0] in names}


def for_histories(program: Program) -> Program:
    """Return the program for given histories only: what its tables know of users is never read, so it is not stored."""
    of_users = {name for name, table in program.tables.items() if not {"@user", "@user_key"}.isdisjoint(program.sources([table.key]))}
    return replace(program, tables={name: _emptied(t) if name in of_users else t for name, t in program.tables.items()})


def cut(program: Program) -> Program:
    """Return the program with the events that it can still read."""
    found = {}
    for name, table in program.tables.items():
        steps = [step.params for step in program.steps if step.op == "as_of" and step.params["table"] == name]
        count = max((int(p.get("length", p.get("newest", 1))) for p in steps), default=1)
        found[name] = recent(table, count, max((int(p.get("window", 0)) for p in steps), default=0))
    return replace(program, tables=found)


def recent(table: AsOfTable, count: int, window: int) -> AsOfTable:
    """Return a table that answers alike at its end and later: its states, the last `count` events and those of the last `window` ns.

    Of every key the first event stays, and one before the oldest that is needed: its totals are what came before.
    """
    if not len(table.times):
        return table
    start, last = table.offsets[:-1], table.offsets[1:]
    oldest = bisect_left(table.times, start, last, np.full(table.keys, table.end - 1 - min(window, _FOREVER)))
    owner, place = owners(table.offsets), np.arange(len(table.times))
    kept = (place >= (oldest - count - 1)[owner]) | (place == start[owner])
    offsets = offsets_of(np.bincount(owner[kept], minlength=table.keys))
    return replace(table, offsets=offsets, times=table.times[kept], values=table.values[kept])


def _emptied(table: AsOfTable) -> AsOfTable:
    return replace(table, offsets=np.zeros(2, np.int64), times=table.times[:0], values=table.values[:0])
