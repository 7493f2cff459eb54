"""How a node's inputs go past its operation: plain, skip, residual and dense connections."""

from __future__ import annotations

from collections.abc import Sequence

from autorec_cells.draft import Draft, Value
from autorec_cells.joining import by_mark, narrowed, spread

__all__ = ["CONNECTIONS", "connected"]

CONNECTIONS = ("plain", "skip", "residual", "dense")


def connected(draft: Draft, connection: str, found: Value, inputs: Sequence[Value]) -> Value:
    """Return the value of a node, whose operation made `found` of `inputs`.

    plain and dense: the operation's value (a dense node's inputs are all nodes before it; Huang et al. 2017). residual: its sum with the
    inputs (He et al. 2016). skip: the value and the inputs side by side.
    """
    if connection == "residual":
        return {"vector": _add_vectors, "fields": _add_fields, "sequence": _add_steps}[found.port](draft, found, inputs)
    if connection == "skip":
        return {"vector": _beside_vector, "fields": _beside_fields, "sequence": _beside_steps}[found.port](draft, found, inputs)
    return found


def _add_vectors(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    added = [narrowed(draft, value) for value in by_mark(inputs)]
    return draft.add("blocks/add", [found, *added], port="vector", width=found.width)


def _add_fields(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    return draft.add("blocks/add-fields", [found, *by_mark(inputs)], port="fields", width=found.width, fields=found.fields)


def _add_steps(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    """Inputs with other steps are averaged and added to every step."""
    added = [value if value.steps.line == found.line else spread(draft, value, found.width) for value in by_mark(inputs)]
    return draft.add("blocks/add-steps", [found, *added], port="sequence", width=found.width)


def _beside_vector(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    together = [found, *by_mark(inputs)]
    return draft.add("blocks/concat", together, port="vector", width=sum(value.flat for value in together))


def _beside_fields(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    beside = [_one_width(draft, value, found.width) for value in by_mark(inputs)]
    count = found.fields + sum(value.fields for value in beside)
    return draft.add("blocks/join-fields", [found, *beside], port="fields", width=found.width, fields=count)


def _one_width(draft: Draft, value: Value, width: int) -> Value:
    """Return the value as fields of this width; a vector or a sequence is one field."""
    if value.port == "fields":
        config = {"width": width, "bias": False}
        same = value.width == width
        return value if same else draft.add("blocks/project-fields", [value], config, port="fields", width=width, fields=value.fields)
    vector = spread(draft, value, width)
    return Value(vector.name, vector.mark, "fields", width, 1)


def _beside_steps(draft: Draft, found: Value, inputs: Sequence[Value]) -> Value:
    """Step by step where an input has the same steps; the averages of both beside each other where none has."""
    same = [value for value in by_mark(inputs) if value.steps.line == found.line]
    if not same:
        return _beside_vector(draft, found, inputs)
    width = found.width + sum(value.width for value in same)
    joined = draft.add("blocks/join-steps", [found, *same], port="sequence", width=width)
    others = [value for value in inputs if value not in same]
    return _add_steps(draft, joined, others) if others else joined
