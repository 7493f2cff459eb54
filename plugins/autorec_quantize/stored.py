"""`int8-weights`: constants of matrix products stored as eight-bit integers, multiplied in float32."""

from __future__ import annotations

from collections.abc import Iterable
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
from autorec_quantize.graphs import graph_of, rebuilt, smaller, widened

__all__ = ["Int8Weights", "quantise_outputs"]

_NARROWEST = 8  # numbers of an output below which its scale costs as much as it saves


class Int8Weights:
    """Quantises weights alone, stacks of matrices among them; each output has a scale of its own.

    Runtimes that fold constants (onnxruntime does) widen them once, as they load: a call then takes as long as in float32, where integer
    products take less for wide layers and more for narrow ones, and no activation is rounded. Memory at run time is that of float32.
    """

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(256, 65536, log=True)] = Field(
            1024, ge=0, le=2**40, description="Numbers below which a constant stays in float32."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 5

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where a product of the graph has a constant that is large enough."""
        if model.graph is not None and _multiplied(widened(graph_of(model), self.config.smallest), self.config.smallest):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with weights stored in eight bits; the same graph gives the same bytes.

        Raises:
            NotApplicable: No constant is large enough, or the bytes did not shrink.
        """
        plain = widened(graph_of(model), self.config.smallest)
        chosen = _multiplied(plain, self.config.smallest)
        if not chosen:
            raise NotApplicable(f"no product has a constant of {self.config.smallest} numbers or more to itself")
        return smaller(model, normalise(_rewritten(plain, chosen)))


def quantise_outputs(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 of the same shape and scales float32 that broadcast, with weights ≈ integers * scale, off by at most half a scale.

    Args:
        weights: float32 [..., K, N].
        axis: The one, -1 or -2, over which an output is summed: it shares a scale.
    """
    largest = np.abs(weights).max(axis, keepdims=True)
    scale = (largest / 127.0).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1.0))
    return np.clip(np.rint(weights / scale), -127, 127).astype(np.int8), scale


def _multiplied(model: onnx.ModelProto, smallest: int) -> dict[str, int]:
    """Return constant → the axis that its first product sums over, of large float32 constants that nothing but products reads."""
    read = dict[str, int]()
    other = {value.name for value in model.graph.output}
    for node in model.graph.node:
        axes = _summed(node)
        for place, name in enumerate(node.input):
            if place in axes:
                read.setdefault(name, axes[place])
            else:
                other.add(name)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1 and t.name in read]
    wide = [t for t in floats if int(np.prod(t.dims)) >= smallest and t.dims[read[t.name]] >= _NARROWEST]
    finite = [t for t in wide if t.name not in other and np.isfinite(numpy_helper.to_array(t)).all()]
    return {t.name: read[t.name] for t in finite}


def _summed(node: onnx.NodeProto) -> dict[int, int]:
    """Return input → the axis that a product sums over; none for a node that is none."""
    if node.op_type == "MatMul" and not node.domain:
        return {0: -1, 1: -2}
    if node.op_type != "Gemm":
        return {}
    turned = {entry.name for entry in node.attribute if entry.name in ("transA", "transB") and entry.i}
    return {0: -2 if "transA" in turned else -1, 1: -1 if "transB" in turned else -2}


def _rewritten(model: onnx.ModelProto, chosen: dict[str, int]) -> onnx.ModelProto:
    stored, nodes = [tensor for tensor in model.graph.initializer if tensor.name not in chosen], list[onnx.NodeProto]()
    for tensor in model.graph.initializer:
        if tensor.name in chosen:
            integers, scale = quantise_outputs(numpy_helper.to_array(tensor), chosen[tensor.name])
            parts = {f"{tensor.name}.integers": integers, f"{tensor.name}.scale": scale}
            stored += [numpy_helper.from_array(value, name) for name, value in parts.items()]
            nodes.append(helper.make_node("Cast", [f"{tensor.name}.integers"], [f"{tensor.name}.steps"], to=onnx.TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{tensor.name}.steps", f"{tensor.name}.scale"], [tensor.name]))
    return rebuilt(model, [*nodes, *model.graph.node], stored)
