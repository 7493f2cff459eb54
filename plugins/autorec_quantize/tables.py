"""`int8-tables`: large look-up tables as eight-bit integers with one scale a row, by standard operators (Gather, DequantizeLinear)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Int
from autorec_quantize.graphs import graph_of, is_look_up, looked_up, smaller, with_look_ups
from autorec_quantize.shared import look_up

__all__ = ["Int8Tables", "quantise_rows"]

_NARROWEST = 8  # columns below which the scale of a row costs as much as it saves


class Int8Tables:
    """Replaces tables that are only looked up; a table that a matrix product reads too stays as it is."""

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(1024, 1048576, log=True)] = Field(
            4096, ge=0, le=2**40, description="Numbers below which a table stays as it is."
        )
        half: bool = Field(False, description="Scales as float16: two bytes a row fewer, and a node more for each look-up.")

    form: ClassVar[Literal["module", "graph"]] = "graph"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a table that is large enough, and shorter scales for targets that count bytes first."""
        if model.graph is not None and looked_up(graph_of(model), self.config.smallest, _NARROWEST):
            yield self.config
            if target.prefer == "bytes" and not self.config.half:
                yield self.config.model_copy(update={"half": True})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with eight-bit tables; the same graph gives the same bytes.

        Raises:
            NotApplicable: No table is large enough, or the bytes did not shrink.
        """
        plain = graph_of(model)
        tables = looked_up(plain, self.config.smallest, _NARROWEST)
        if not tables:
            raise NotApplicable(f"no table of {self.config.smallest} numbers or more is only looked up")
        return smaller(model, normalise(_rewritten(plain, tables, self.config.half)))


def quantise_rows(table: np.ndarray, *, half: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 [R, D] and scales [R, 1] with table ≈ integers * scale; the error is at most half a scale, a row of zeros stays zero.

    Args:
        half: Whether scales are float16, rounded up by 2⁻¹⁰ of themselves at most; they are float32 where one of them overflows it or is
            less than its least normal number.
    """
    largest = np.abs(table).max(axis=1, keepdims=True)
    scale = (largest / 127.0).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1.0))
    kind = np.finfo(np.float16)
    short = scale
    if half and len(scale) and kind.tiny <= scale.min() and scale.max() < kind.max / 2:
        short = scale.astype(np.float16)
        short = np.where(short < scale, np.nextafter(short, np.float16(np.inf)), short)  # no number of a row is cut off
    return np.clip(np.rint(table / short.astype(np.float32)), -127, 127).astype(np.int8), short


def _rewritten(model: onnx.ModelProto, tables: dict[str, onnx.TensorProto], half: bool) -> onnx.ModelProto:
    flat, stored, short = _listed(model, tables), dict[str, np.ndarray](), set[str]()
    for name, tensor in tables.items():
        integers, scale = quantise_rows(numpy_helper.to_array(tensor).astype(np.float32), half=half)
        stored |= {f"{name}.integers": integers, f"{name}.scale": scale[:, 0] if name in flat else scale}
        short |= {name} if scale.dtype == np.float16 else set()

    def replaced(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        table = node.input[0]
        return look_up(node, f"{table}.integers", f"{table}.scale", flat=table in flat, half=table in short)

    return with_look_ups(model, tables, stored, replaced)


def _listed(model: onnx.ModelProto, tables: Collection[str]) -> set[str]:
    """Return the tables whose rows are always read as a list [A]: only there has each row of what is read one scale."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # onnx raises its own classes for operators that it does not know
        return set()
    axes = {value.name: len(value.type.tensor_type.shape.dim) for value in (*inferred.graph.value_info, *inferred.graph.input)}
    read = [(node.input[0], axes.get(node.input[1])) for node in model.graph.node if is_look_up(node) and node.input[0] in tables]
    return set(tables) - {table for table, rank in read if rank != 1}
