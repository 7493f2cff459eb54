"""`int8-tables`: large look-up tables as eight-bit integers with one scale a row, by standard operators (Gather, Cast, Mul)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Int
from autorec_quantize.shared import look_up

__all__ = ["Int8Tables", "quantise_rows"]

_NARROWEST = 8  # columns below which the scale of a row costs as much as it saves


class Int8Tables:
    """Replaces float32 tables that are only looked up; a table that a matrix product reads too stays as it is."""

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(1024, 1048576, log=True)] = Field(
            4096, ge=0, le=2**40, description="Numbers below which a table stays in float32."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a table that is large enough."""
        if model.graph is not None and _tables(onnx.ModelProto.FromString(model.graph), self.config.smallest):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with eight-bit tables; the same graph gives the same bytes.

        Raises:
            NotApplicable: No table is large enough, or the bytes did not shrink.
        """
        if model.graph is None:
            raise NotApplicable("the model has no exported graph yet")
        plain = onnx.ModelProto.FromString(model.graph)
        tables = _tables(plain, self.config.smallest)
        if not tables:
            raise NotApplicable(f"no table of {self.config.smallest} numbers or more is only looked up")
        small = normalise(_rewritten(plain, tables))
        if len(small) >= len(model.graph):
            raise NotApplicable(f"the graph grew from {len(model.graph)} to {len(small)} bytes")
        return replace(model, graph=small)


def quantise_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 [R, D] and float32 [R, 1] with table ≈ integers * scale; the error is at most half a scale, a row of zeros stays zero."""
    largest = np.abs(table).max(axis=1, keepdims=True)
    scale = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    return np.clip(np.rint(table / scale), -127, 127).astype(np.int8), scale


def _tables(model: onnx.ModelProto, smallest: int) -> dict[str, onnx.TensorProto]:
    """Return the float32 tables [R, D] that nothing but row look-ups reads."""
    other = {value.name for value in model.graph.output}
    looked_up: set[str] = set()
    for node in model.graph.node:
        plain = node.op_type == "Gather" and all(entry.i == 0 for entry in node.attribute if entry.name == "axis")
        looked_up.update(node.input[:1] if plain else ())
        other.update(node.input[1:] if plain else node.input)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2]
    large = [t for t in floats if t.dims[0] * t.dims[1] >= smallest and t.dims[1] >= _NARROWEST]
    return {tensor.name: tensor for tensor in large if tensor.name in looked_up - other}


def _rewritten(model: onnx.ModelProto, tables: dict[str, onnx.TensorProto]) -> onnx.ModelProto:
    stored = [tensor for tensor in model.graph.initializer if tensor.name not in tables]
    for name, tensor in tables.items():
        integers, scale = quantise_rows(numpy_helper.to_array(tensor))
        stored += [numpy_helper.from_array(integers, f"{name}.integers"), numpy_helper.from_array(scale, f"{name}.scale")]
    nodes = [part for node in model.graph.node for part in _replaced(node, tables)]
    graph = helper.make_graph(nodes, "serving", model.graph.input, model.graph.output, stored)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _replaced(node: onnx.NodeProto, tables: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    if node.op_type == "Gather" and node.input[0] in tables:
        return look_up(node, f"{node.input[0]}.integers", f"{node.input[0]}.scale")
    return [node]
