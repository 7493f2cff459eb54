"""How several values become the one input of a block: side by side, as fields, or as steps. Order does not matter but for the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autorec_cells.draft import Draft, Value

__all__ = ["as_fields", "as_steps", "as_vector", "by_mark", "fitted", "mixed", "narrowed", "spread", "stepped"]

_MOST = 32  # more are mixed into few before work that grows with their square
_FEW_FIELDS, _PARTS, _FIELD = 16, 4, 16
_WIDEST, _NARROW = 1024, 256  # a wider vector is projected before work that grows with the square of the width


def by_mark(values: Iterable[Value]) -> list[Value]:
    """Return the values in an order that depends on what they are alone."""
    return sorted(values, key=lambda value: value.mark)


def as_vector(draft: Draft, values: Sequence[Value]) -> Value:
    """Return the values side by side as one VECTOR."""
    if len(values) == 1:
        return values[0].vector
    return draft.add("blocks/concat", by_mark(values), port="vector", width=sum(value.flat for value in values))


def narrowed(draft: Draft, value: Value, most: int = _WIDEST) -> Value:
    """Return the value as a VECTOR of at most this width."""
    return fitted(draft, value, min(most, _NARROW)) if value.flat > most else value.vector


def fitted(draft: Draft, value: Value, width: int) -> Value:
    """Return the value as a VECTOR of this width, through a bias-free projection unless it has it."""
    if value.flat == width:
        return value.vector
    return draft.add("blocks/linear", [value], {"width": width, "bias": False}, port="vector", width=width)


def spread(draft: Draft, value: Value, width: int) -> Value:
    """Return the value as a VECTOR node of this width, so that it has one step wherever a sequence is taken."""
    if value.port == "vector" and value.width == width and value.origin is None:
        return value
    return draft.add("blocks/linear", [value], {"width": width, "bias": False}, port="vector", width=width)


def as_fields(draft: Draft, values: Sequence[Value], most: int = _MOST) -> Value:
    """Return the values as one set of at least two and at most `most` FIELDS; what is no set of fields is cut into some."""
    whole = [value for value in values if value.port == "fields" and value.fields > 1]
    width = max((value.width for value in whole), default=_FIELD)
    parts = [value if value in whole else _split(draft, value, width) for value in by_mark(values)]
    parts = [part if part.width == width else _project(draft, part, width) for part in parts]
    joined = parts[0] if len(parts) == 1 else _join(draft, parts)
    return mixed(draft, joined, most)


def mixed(draft: Draft, value: Value, most: int = _MOST) -> Value:
    """Return a set of fields, a few weighted sums of them where there are more than `most`."""
    if value.fields <= most:
        return value
    return draft.add("blocks/mix-fields", [value], {"fields": _FEW_FIELDS}, port="fields", width=value.width, fields=_FEW_FIELDS)


def _split(draft: Draft, value: Value, width: int) -> Value:
    return draft.add("blocks/split-fields", [value], {"fields": _PARTS, "width": width}, port="fields", width=width, fields=_PARTS)


def _project(draft: Draft, value: Value, width: int) -> Value:
    config = {"width": width, "bias": False}
    return draft.add("blocks/project-fields", [value], config, port="fields", width=width, fields=value.fields)


def _join(draft: Draft, parts: Sequence[Value]) -> Value:
    count = sum(part.fields for part in parts)
    return draft.add("blocks/join-fields", parts, port="fields", width=parts[0].width, fields=count)


def as_steps(draft: Draft, values: Sequence[Value], *, append: bool) -> Value:
    """Return the values as one SEQUENCE: the steps of the first sequence among them, or of the first value.

    What has the same steps stands beside; anything else joins as a newest step (`append`) or is added to every step.
    """
    main = next((value for value in values if value.port == "sequence"), values[0])
    rest = [value for value in values if value is not main]
    main = stepped(draft, main)
    beside = [value for value in rest if value.line == main.line]
    found = main
    if beside:
        together = by_mark([main, *beside])
        found = draft.add("blocks/join-steps", together, port="sequence", width=sum(value.width for value in together))
    others = by_mark(value for value in rest if value.line != main.line)
    return _appended(draft, found, others) if append else _added(draft, found, others)


def stepped(draft: Draft, value: Value) -> Value:
    """Return the value as a SEQUENCE of several steps: a step a field, and a vector is cut into fields."""
    return value if value.port == "sequence" else as_fields(draft, [value]).steps


def _appended(draft: Draft, steps: Value, others: Sequence[Value]) -> Value:
    for value in others:
        step = fitted(draft, value, steps.width)
        longer = draft.add("blocks/append-step", [steps, step], port="sequence", width=steps.width)
        steps = Value(longer.name, longer.mark, "sequence", longer.width, line=f"{steps.line}+{value.mark}")
    return steps


def _added(draft: Draft, steps: Value, others: Sequence[Value]) -> Value:
    if not others:
        return steps
    added = [spread(draft, value, steps.width) for value in others]
    return draft.add("blocks/add-steps", [steps, *added], port="sequence", width=steps.width)
