"""Operations that read vectors and fields: networks, crosses, products of pairs, gates, experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autorec_cells.call import Call
from autorec_cells.draft import Value
from autorec_cells.joining import as_fields, as_steps, as_vector, fitted, narrowed

__all__ = ["CROSSES"]

_EXPERTS, _RANK = 4, 32
_NARROW = 256  # products and bilinear forms read vectors of at most this width
_FEW = 12  # fields of which a third is several
_CONTEXT = 64  # hidden units of a gate


def _network(call: Call) -> Value:
    """The same for every step, and not wide, where an input is a sequence; of all inputs side by side otherwise."""
    sizes = [max(8, call.size >> layer) if call.options["taper"] else call.size for layer in range(call.layers)]
    activation = call.options["activation"]
    if call.sequential:
        steps = call.steps(append=False)
        for size in (min(size, call.widest) for size in sizes):
            config = {"width": size, "activation": activation}
            steps = call.draft.add("blocks/project-steps", [steps], config, port="sequence", width=size)
        return steps
    config = {"hidden_dims": sizes, "dropout": [call.dropout], "activation": activation}
    return call.draft.add("blocks/mlp", [call.vector()], config, port="vector", width=sizes[-1])


def _machine(call: Call) -> Value:
    fields, reduce = as_fields(call.draft, call.inputs, 1024), bool(call.options["reduce"])
    config = {} if reduce else {"reduce": False}
    return call.draft.add("blocks/fm", [fields], config, port="vector", width=1 if reduce else fields.width)


def _pairs(call: Call) -> Value:
    fields = as_fields(call.draft, call.inputs)
    count = fields.fields * (fields.fields - 1) // 2
    if call.options["reduce"]:
        return call.draft.add("blocks/pairs", [fields], {"inner": True}, port="vector", width=count)
    return call.draft.add("blocks/pairs", [fields], port="fields", width=fields.width, fields=count)


def _bilinear(call: Call) -> Value:
    fields = as_fields(call.draft, call.inputs)
    count = fields.fields * (fields.fields - 1) // 2
    kind = {"kind": call.options["matrices"]}
    return call.draft.add("blocks/bilinear-pairs", [fields], kind, port="fields", width=fields.width, fields=count)


def _compressed(call: Call) -> Value:
    units = [call.size] * call.layers
    return call.draft.add("blocks/cin", [as_fields(call.draft, call.inputs)], {"layer_units": units}, port="vector", width=sum(units))


def _cross(call: Call) -> Value:
    """The left input is what every layer multiplies with; the others are the value that the first layer starts from."""
    first = narrowed(call.draft, call.inputs[0])
    value = fitted(call.draft, as_vector(call.draft, call.inputs[1:]), first.width) if call.inputs[1:] else first
    config: dict[str, Any] = {"parameterization": call.options["form"]}
    config |= {"rank": _RANK, "experts": _EXPERTS} if config["parameterization"] == "mixture" else {}
    for _ in range(call.layers):
        value = call.draft.add("blocks/cross", [first, value], config, port="vector", width=first.width)
    return value


def _senet(call: Call) -> Value:
    fields = as_fields(call.draft, call.inputs, 1024)
    config = {} if fields.fields >= _FEW else {"reduction_ratio": 1}  # a single hidden unit may be silent for every row
    return call.draft.add("blocks/senet", [fields], config, port="fields", width=fields.width, fields=fields.fields)


def _attention_pool(call: Call) -> Value:
    fields = as_fields(call.draft, call.inputs, 1024)
    return call.draft.add("blocks/attention-pool", [fields], {"dropout": call.dropout}, port="vector", width=fields.width)


def _two(call: Call) -> tuple[Value, Value]:
    """Return the left input and the others, both narrow; the left one and its projection where there are no others."""
    left = narrowed(call.draft, call.inputs[0], _NARROW)
    if not call.inputs[1:]:
        return left, call.draft.add("blocks/linear", [left], {"width": left.width, "bias": False}, port="vector", width=left.width)
    return left, narrowed(call.draft, as_vector(call.draft, call.inputs[1:]), _NARROW)


def _product(call: Call) -> Value:
    left, right = _two(call)
    right = fitted(call.draft, right, left.width)
    return call.draft.add("blocks/product", [left, right], port="vector", width=left.width)


def _fusion(call: Call) -> Value:
    return call.draft.add("blocks/bilinear", _two(call), {"heads": call.options["heads"]}, port="vector", width=1)


def _gate(call: Call) -> Value:
    """The left input, each number times a gate that the others decide: themselves one where there are no others."""
    left, others = call.inputs[0], call.inputs[1:]
    if left.port == "sequence":
        return _gated_steps(call, left, others or (left,))
    vector = narrowed(call.draft, left)
    context = [narrowed(call.draft, value) for value in others]
    config = {"hidden_dims": [_CONTEXT]} if context else {}
    return call.draft.add("blocks/feature-gate", [vector, *context], config, port="vector", width=vector.width)


def _gated_steps(call: Call, left: Value, others: tuple[Value, ...]) -> Value:
    config = {"width": left.width, "activation": "sigmoid"}
    same = [value for value in others if value.line == left.line]
    if not same:
        context = as_vector(call.draft, others)
        gates = call.draft.add(
            "blocks/mlp", [context], {"hidden_dims": [left.width], "activation": "sigmoid"}, port="vector", width=left.width
        )
        return call.draft.add("blocks/scale-steps", [left, gates], port="sequence", width=left.width)
    context = as_steps(call.draft, [*same, *(value for value in others if value not in same)], append=False)
    gates = call.draft.add("blocks/project-steps", [context], config, port="sequence", width=left.width)
    return call.draft.add("blocks/scale-steps", [left, gates], port="sequence", width=left.width)


def _experts(call: Call) -> Value:
    vector = call.vector()
    config = {"count": _EXPERTS, "hidden_dims": [call.size], "activation": call.options["activation"], "dropout": call.dropout}
    experts = call.draft.add("blocks/experts", [vector], config, port="fields", width=call.size, fields=_EXPERTS)
    return call.draft.add("blocks/gate", [vector, experts], port="vector", width=call.size)


CROSSES: Mapping[str, Callable[[Call], Value]] = {
    "mlp": _network,
    "fm": _machine,
    "pairs": _pairs,
    "bilinear": _bilinear,
    "cin": _compressed,
    "cross": _cross,
    "senet": _senet,
    "attention-pool": _attention_pool,
    "product": _product,
    "fusion": _fusion,
    "gate": _gate,
    "experts": _experts,
}
