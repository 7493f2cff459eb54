"""A cell: nodes that read sources and earlier nodes. Those that nobody reads are its leaves, so no node is without a use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autorec_cells.call import Call
from autorec_cells.connections import connected
from autorec_cells.crossing import CROSSES
from autorec_cells.draft import Draft, Value
from autorec_cells.joining import by_mark
from autorec_cells.options import NONE, options_of
from autorec_cells.sequences import SEQUENCES

__all__ = ["leaves_of"]

_OPERATIONS: Mapping[str, Callable[[Call], Value]] = {**CROSSES, **SEQUENCES}


def leaves_of(draft: Draft, config: Any, source: Callable[[str], Value], *, causal: bool, widest: int) -> list[Value]:
    """Add the nodes of a cell and return its leaves, each once, in an order that the numbers of the nodes do not decide.

    Args:
        config: Options as `config_of` makes them, with `length` and `dropout`.
        source: Name of a source → its value.
        causal: Whether attention sees older steps alone.
        widest: Most units of a layer that is applied to every step.
    """
    values: dict[str, Value] = {}
    read: set[str] = set()
    for number in range(1, config.nodes + 1):
        names = _inputs(config, number, tuple(values))
        read |= set(names) & set(values)
        inputs = _distinct(values[name] if name in values else source(name) for name in names)
        call = Call(draft, inputs, options_of(config, number), causal, config.length, config.dropout, widest)
        found = _OPERATIONS[getattr(config, f"operation_{number}")](call)
        values[str(number)] = connected(draft, getattr(config, f"connection_{number}"), found, inputs)
    return by_mark(_distinct(value for name, value in values.items() if name not in read))


def _inputs(config: Any, number: int, earlier: tuple[str, ...]) -> list[str]:
    """Return what a node reads: left, right, and every earlier node where it is densely connected."""
    right = getattr(config, f"right_{number}")
    dense = earlier if getattr(config, f"connection_{number}") == "dense" else ()
    return list(dict.fromkeys([getattr(config, f"left_{number}"), *([] if right == NONE else [right]), *dense]))


def _distinct(values: Any) -> tuple[Value, ...]:
    """Return the values without those of a node that is there already."""
    return tuple({value.name: value for value in values}.values())
