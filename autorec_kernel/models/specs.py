"""Shapes and meanings of every node of a graph, inferred without allocating anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from autorec_kernel.contracts.models import ModelBlock
from autorec_kernel.errors import ContractError
from autorec_kernel.models.adapters import adapt_spec
from autorec_kernel.models.sources import source_spec
from autorec_kernel.records.architecture import Architecture, Node, Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["accepted_ports", "adapted_specs", "infer_specs", "make_blocks"]

_UNKNOWN = TensorSpec("vector")  # stands for a previous step until its node has been inferred


def make_blocks(architecture: Architecture, kernel: Kernel) -> dict[str, ModelBlock]:
    """Return node id → configured block of every node that is not a source."""
    return {node.id: kernel.create("model-block", node.block, **node.config) for node in architecture.nodes if not node.is_source}


def infer_specs(architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock]) -> dict[str, TensorSpec]:
    """Return node id → spec, without allocating anything.

    Raises:
        ContractError: Blocks cannot be combined, or a previous step changes the shape of what it is the previous step of.
    """
    specs = _inferred(architecture, features, blocks, {})
    if not any(name.startswith("~") for node in architecture.nodes for name in node.inputs):
        return specs
    again = _inferred(architecture, features, blocks, specs)
    if again != specs:
        raise ContractError("the shape of a node depends on the shape of its own previous step")
    return again


def _inferred(
    architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock], previous: Mapping[str, TensorSpec]
) -> dict[str, TensorSpec]:
    specs: dict[str, TensorSpec] = {}
    counts = {"user": features.users, "item": features.items}
    for node in architecture.nodes:
        if node.is_source:
            specs[node.id] = source_spec(node, features, architecture.batching)
            continue
        adapted = adapted_specs(node, blocks[node.id], {**previous, **specs})
        _check_axes(node, adapted)
        spec = blocks[node.id].output(adapted)
        specs[node.id] = replace(spec, rows=counts[spec.axis]) if spec.axis != "row" and spec.port in ("vector", "fields") else spec
    return specs


def adapted_specs(node: Node, block: ModelBlock, specs: Mapping[str, TensorSpec]) -> list[TensorSpec]:
    """Return what a node's block is given: the specs of its inputs on the ports that it accepts."""
    ports = accepted_ports(block, len(node.inputs), node.id)
    return [adapt_spec(_spec(specs, name), port) for name, port in zip(node.inputs, ports, strict=True)]


def accepted_ports(block: ModelBlock, count: int, where: str) -> tuple[Port, ...]:
    """Return the port of each of `count` inputs; a variadic block repeats its last one."""
    ports = block.accepts
    if block.variadic and count >= len(ports):
        return ports + (ports[-1],) * (count - len(ports))
    if count != len(ports):
        raise ContractError(f"node {where!r} has {count} inputs, its block takes {len(ports)}{' or more' if block.variadic else ''}")
    return ports


def _spec(specs: Mapping[str, TensorSpec], name: str) -> TensorSpec:
    if not name.startswith("~"):
        return specs[name]
    spec = specs.get(name[1:], _UNKNOWN)
    if spec.port != "vector" or spec.axis != "row" or spec.index:
        raise ContractError(f"{name!r} is the previous step of a {spec.port}: only a vector of the batch's rows has one")
    return spec


def _check_axes(node: Node, specs: list[TensorSpec]) -> None:
    axes = {spec.axis for spec in specs if spec.port not in ("table", "loss")}
    if len(axes) > 1:
        raise ContractError(f"node {node.id!r} joins values that count different things: {', '.join(sorted(axes))}")
