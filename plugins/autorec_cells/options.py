"""The options of a cell: what is chosen for each of its nodes, and under which operation a choice exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from autorec_cells.connections import CONNECTIONS
from autorec_cells.crossing import CROSSES
from autorec_cells.sequences import SEQUENCES
from autorec_kernel.config import ComponentConfig
from autorec_kernel.space import Bool, Choice, Domain, Int, Under

__all__ = ["NODES", "NONE", "OPERATIONS", "OPTIONS", "config_of", "options_of"]

NODES, NONE = 6, "none"
OPERATIONS = (*CROSSES, *SEQUENCES)

_STATEFUL = ("lstm", "gru", "attention", "convolution", "memory", "capsules", "evolution")
_LAYERED = ("mlp", "lstm", "gru", "attention", "convolution", "cin", "cross")
_Matrices = Literal["field_all", "field_each", "field_interaction"]
# option -> (type, domain, default, operations that have it, help)
OPTIONS: Mapping[str, tuple[Any, Domain, Any, tuple[str, ...], str]] = {
    "size": (int, Choice(16, 32, 64, 128, 256), 64, ("mlp", "cin", "experts"), "Width of a layer"),
    "states": (int, Choice(16, 32, 64, 128), 64, _STATEFUL, "Width of a step, an interest or a field"),
    "layers": (int, Int(1, 3), 1, _LAYERED, "Layers"),
    "activation": (
        Literal["relu", "gelu", "silu", "tanh", "prelu", "dice"],
        Choice("relu", "gelu", "silu", "tanh", "prelu", "dice"),
        "relu",
        ("mlp", "experts"),
        "Function after each layer",
    ),
    "taper": (bool, Bool(), False, ("mlp",), "Whether each layer is half as wide as the one before"),
    "heads": (int, Choice(1, 2, 4), 2, ("attention", "fusion"), "Attention heads, or matrices of a bilinear form"),
    "order": (
        Literal["positions", "distances", "none"],
        Choice("positions", "distances", "none"),
        "positions",
        ("attention",),
        "What attention among steps sees of their order",
    ),
    "kernel": (int, Int(2, 5), 3, ("convolution",), "Steps that one convolution reads"),
    "mode": (Literal["mean", "sum", "max", "last"], Choice("mean", "sum", "max", "last"), "mean", ("pooling",), "How steps are reduced"),
    "interests": (int, Choice(2, 4, 8), 4, ("capsules",), "Interests of a history"),
    "iterations": (int, Int(1, 4), 3, ("capsules",), "Rounds of routing"),
    "maps": (Literal["one", "each"], Choice("one", "each"), "one", ("capsules",), "One matrix, or one for each pair of age and interest"),
    "weights": (
        Literal["unit", "bilinear"],
        Choice("unit", "bilinear"),
        "unit",
        ("target-attention",),
        "How steps and target are compared",
    ),
    "reduce": (bool, Bool(), True, ("fm", "pairs"), "Whether a pair's product is summed to one number"),
    "matrices": (
        _Matrices,
        Choice("field_all", "field_each", "field_interaction"),
        "field_each",
        ("bilinear",),
        "Which pairs of fields share a matrix",
    ),
    "form": (Literal["vector", "matrix", "mixture"], Choice("vector", "matrix", "mixture"), "matrix", ("cross",), "What weighs a cross"),
}


def config_of(
    name: str,
    sources: Sequence[str],
    operations: Sequence[str],
    defaults: Mapping[str, Any],
    base: type[ComponentConfig],
    states: Domain | None = None,
) -> type[ComponentConfig]:
    """Return the `Config` of a cell: the options of `base`, then `nodes` and the options of every node, each a gene.

    Args:
        name: Of the class.
        sources: What nodes may read besides earlier nodes; the first is what the first node reads by default.
        operations: What a node may do.
        defaults: Option → default, where it is not that of `OPTIONS`.
        base: The options that are no node's.
        states: Domain of the width of a step, where it is not that of `OPTIONS`.
    """
    fields: dict[str, Any] = {
        "nodes": (Annotated[int, Int(1, NODES), Field(ge=1, le=NODES)], Field(defaults["nodes"], description="Nodes of the cell."))
    }
    for number in range(1, NODES + 1):
        fields |= _fields_of(number, sources, operations, defaults, states)
    return create_model(name, __base__=base, __module__=base.__module__, __doc__="Options.", **fields)


def _fields_of(
    number: int, sources: Sequence[str], operations: Sequence[str], defaults: Mapping[str, Any], states: Domain | None
) -> dict[str, Any]:
    """Return the fields of one node: operation, inputs and connection while the cell is that long, the rest under its operation."""
    there = Under("nodes", *range(number, NODES + 1))
    earlier = tuple(str(other) for other in range(1, number))
    left = earlier[-1] if earlier else sources[0]
    domains = {
        "operation": (Choice(*operations), "mlp", f"Operation of node {number}."),
        "left": (Choice(*sources, *earlier), left, f"First input of node {number}: a source, or an earlier node by its number."),
        "right": (Choice(NONE, *sources, *earlier), NONE, f"Second input of node {number}."),
        "connection": (Choice(*CONNECTIONS), "plain", f"How the inputs of node {number} go past it."),
    }
    fields: dict[str, Any] = {}
    for option, (domain, default, told) in domains.items():
        name = f"{option}_{number}"
        kind: Any = Literal[domain.options]
        fields[name] = (Annotated[kind, domain, there], Field(defaults.get(name, default), description=told))
    for option, (type_, values, default, owners, told) in OPTIONS.items():
        having = [operation for operation in owners if operation in operations]
        name, under = f"{option}_{number}", Under(f"operation_{number}", *having)
        if having:
            field = Field(defaults.get(name, default), ge=1 if type_ is int else None, description=f"{told} ({', '.join(having)}).")
            searched = states if states is not None and option == "states" else values
            fields[name] = (Annotated[type_, searched, under], field)
    return fields


def options_of(config: Any, number: int) -> dict[str, Any]:
    """Return option → value of a node: those that its operation has."""
    operation = getattr(config, f"operation_{number}")
    return {option: getattr(config, f"{option}_{number}") for option, row in OPTIONS.items() if operation in row[3]}
