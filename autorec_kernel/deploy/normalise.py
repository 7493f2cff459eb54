"""One byte form for a graph: neutral names, pinned versions, no doc strings or metadata (they hold install paths)."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from autorec_kernel.errors import BundleError

__all__ = ["IR_VERSION", "OPSET", "normalise"]

IR_VERSION, OPSET = 10, 20


def normalise(model: onnx.ModelProto) -> bytes:
    """Return the serialised model with everything removed that does not compute.

    Nodes, values and initialisers are renamed in order of appearance; graph inputs and outputs keep their names. The same graph gives the
    same bytes.

    Raises:
        BundleError: The model still holds functions or foreign operator sets.
    """
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    if clean.functions:
        raise BundleError(f"the exported graph still holds the functions {sorted(f.name for f in clean.functions)[:5]}")
    _strip(clean)
    _rename(clean.graph)
    data: bytes = clean.SerializeToString(deterministic=True)
    return data


def _strip(model: onnx.ModelProto) -> None:
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string", "metadata_props", "training_info"):
        model.ClearField(field)
    model.ir_version = IR_VERSION
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain in ("", "ai.onnx")]
    versions = [(entry.domain, entry.version) for entry in kept]
    model.ClearField("opset_import")
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions))
    for field in ("doc_string", "value_info", "metadata_props", "quantization_annotation"):
        model.graph.ClearField(field)
    model.graph.name = "serving"
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        for field in ("doc_string", "metadata_props"):
            part.ClearField(field)
    for node in model.graph.node:
        node.ClearField("overload")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")


def _rename(graph: onnx.GraphProto) -> None:
    _rename_axes(graph)
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        _name_all((name for name in node.input if name), names)
        _name_all((name for name in node.output if name), names)
    _name_all((tensor.name for tensor in graph.initializer), names)
    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    ordered = sorted(graph.initializer, key=lambda tensor: (len(tensor.name), tensor.name))
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in ordered]
    graph.ClearField("initializer")
    graph.initializer.extend(copies)


def _rename_axes(graph: onnx.GraphProto) -> None:
    """Name free axes d0, d1, … in order of appearance: the exporter's own symbols count what the process exported before."""
    known: dict[str, str] = {}
    for value in (*graph.input, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = known.setdefault(axis.dim_param, f"d{len(known)}")


def _name_all(found: Iterable[str], names: dict[str, str]) -> None:
    taken = set(names.values())
    for name in found:
        if name in names:
            continue
        fresh = f"v{len(names)}"
        while fresh in taken:
            fresh += "_"
        names[name] = fresh
        taken.add(fresh)
