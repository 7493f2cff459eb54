"""Operations that read steps: recurrent units, attention, convolution, pooling, capsules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autorec_cells.call import Call
from autorec_cells.draft import HISTORY, Value
from autorec_cells.joining import as_fields, as_steps, as_vector, fitted, mixed, stepped

__all__ = ["SEQUENCES", "pooled"]

_UNIT = [32, 16]  # hidden widths of DIN's activation unit


def pooled(call: Call, value: Value, mode: str) -> Value:
    """Return one vector; the last step stands for all of them in histories alone."""
    kind = mode if value.line.startswith(HISTORY) or mode != "last" else "mean"
    return call.add("blocks/pool", value, port="vector", width=value.width, mode=kind)


def _recurrent(block: str) -> Callable[[Call], Value]:
    def operate(call: Call) -> Value:
        config = {"width": call.size, "layers": call.layers, "dropout": call.dropout}
        return call.draft.add(block, [call.steps()], config, port="sequence", width=call.size)

    return operate


def _sized(call: Call, steps: Value) -> Value:
    if steps.width == call.size:
        return steps
    return call.draft.add("blocks/project-steps", [steps], {"width": call.size}, port="sequence", width=call.size)


def _attention(call: Call) -> Value:
    """Among steps where there are some, among fields otherwise."""
    if not call.sequential:
        return _field_attention(call)
    steps = _sized(call, call.steps())
    config: dict[str, Any] = {"layers": call.layers, "heads": call.options["heads"], "dropout": call.dropout}
    config |= {} if call.causal else {"causal": False}
    if call.options["order"] == "positions":
        length = call.length if steps.line == HISTORY else call.room
        steps = call.add("blocks/positions", steps, port="sequence", width=call.size, max_length=length, dropout=call.dropout)
    elif call.options["order"] == "distances":
        config["rotary"] = True
    return call.add("blocks/encoder", steps, port="sequence", width=call.size, **config)


def _field_attention(call: Call) -> Value:
    fields, heads = as_fields(call.draft, call.inputs), int(call.options["heads"])
    for _ in range(call.layers):
        config = {"heads": heads, "head_width": call.size // heads}
        fields = call.add("blocks/field-attention", fields, port="fields", width=call.size, fields=fields.fields, **config)
    return fields


def _convolution(call: Call) -> Value:
    config = {"layers": call.layers, "kernel": call.options["kernel"], "dropout": call.dropout}
    return call.add("blocks/dilated-convolution", _sized(call, call.steps()), port="sequence", width=call.size, **config)


def _pooling(call: Call) -> Value:
    """Pools the main input; the others stand beside. A vector is pooled already."""
    main = call.main if call.main.port != "fields" else mixed(call.draft, call.main, 1024)
    if main.port == "sequence":
        beside = [value for value in call.others if value.line == main.line]
        main = as_steps(call.draft, [main, *beside], append=False)
        rest = [value for value in call.others if value not in beside]
    else:
        rest = list(call.others)
    found = main if main.port == "vector" else pooled(call, main.steps, str(call.options["mode"]))
    return as_vector(call.draft, [found, *rest])


def _average(call: Call) -> Value:
    steps = call.steps()
    return call.add("blocks/running-mean", steps, port="sequence", width=steps.width)


def _memory(call: Call) -> Value:
    steps = call.steps()
    width = {"width": call.size}
    return call.draft.add("blocks/additive-attention", [steps], width, port="sequence", width=steps.width)


def _capsules(call: Call) -> Value:
    interests = int(call.options["interests"])
    config = {"interests": interests, "iterations": call.options["iterations"], "width": call.size, "max_length": call.length}
    config |= {"maps": "each"} if call.options["maps"] == "each" else {}
    return call.draft.add("blocks/capsules", [call.steps()], config, port="fields", width=call.size, fields=interests)


def _target(call: Call) -> tuple[Value, Value]:
    """Return the steps and what they are compared with: the other inputs, or the mean of the steps where there are none."""
    main = stepped(call.draft, call.main)
    return main, as_vector(call.draft, call.others) if call.others else main.vector


def _weighed(call: Call) -> Value:
    """Steps weighed by their fit to the other inputs, and added up (Zhou et al. 2018)."""
    steps, target = _target(call)
    if call.options["weights"] == "unit":
        config: dict[str, Any] = {"attention_dims": _UNIT, "activation": "dice"}
        target = fitted(call.draft, target, steps.width)
    else:
        config = {"form": "bilinear", "softmax": True}
    weights = call.add("blocks/attention-weights", steps, target, port="sequence", width=1, **config)
    scaled = call.add("blocks/scale-steps", steps, weights, port="sequence", width=steps.width)
    return pooled(call, scaled, "sum")


def _evolution(call: Call) -> Value:
    """A recurrent unit whose gate obeys the fit of each step to the other inputs (Zhou et al. 2019)."""
    steps, target = _target(call)
    weights = call.add("blocks/attention-weights", steps, target, port="sequence", width=1, form="bilinear", softmax=True)
    config = {"width": call.size, "max_length": call.room}
    return call.draft.add("blocks/attention-gru", [steps, weights], config, port="sequence", width=call.size)


SEQUENCES: Mapping[str, Callable[[Call], Value]] = {
    "lstm": _recurrent("blocks/lstm"),
    "gru": _recurrent("blocks/gru"),
    "attention": _attention,
    "convolution": _convolution,
    "pooling": _pooling,
    "average": _average,
    "memory": _memory,
    "capsules": _capsules,
    "target-attention": _weighed,
    "evolution": _evolution,
}
