"""`float16`: tables and matrices stored as float16 and cast to float32: rows when they are read, matrices once, when the model loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from autorec_quantize.graphs import graph_of, is_look_up, rebuilt, smaller

__all__ = ["Float16"]


class Float16:
    """Halves the bytes of weights and leaves arithmetic in float32: processors without float16 products lose no speed.

    A weight changes by at most 2⁻¹¹ of itself, or by 2⁻²⁵ where it is smaller than 2⁻¹⁴. Tensors with a number that float16 cannot hold
    stay as they are.
    """

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(256, 65536, log=True)] = Field(
            1024, ge=0, le=2**40, description="Numbers below which a tensor stays in float32."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 6

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a float32 tensor that is large enough."""
        if model.graph is not None and _halves(graph_of(model), self.config.smallest):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with weights stored as float16; the same graph gives the same bytes.

        Raises:
            NotApplicable: No tensor is large enough and within float16's range, or the bytes did not shrink.
        """
        plain = graph_of(model)
        halves = _halves(plain, self.config.smallest)
        if not halves:
            raise NotApplicable(f"no float32 tensor of {self.config.smallest} numbers or more fits float16")
        kept = [tensor for tensor in plain.graph.initializer if tensor.name not in halves]
        stored = [numpy_helper.from_array(value, f"{name}.half") for name, value in halves.items()]
        return smaller(model, normalise(rebuilt(plain, _nodes(plain, set(halves)), [*kept, *stored])))


def _halves(model: onnx.ModelProto, smallest: int) -> dict[str, np.ndarray]:
    """Return the large float32 initialisers as float16, without those that overflow."""
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in floats if int(np.prod(tensor.dims)) >= max(1, smallest)}
    most = float(np.finfo(np.float16).max)
    return {name: value.astype(np.float16) for name, value in values.items() if np.abs(value[np.isfinite(value)]).max(initial=0.0) <= most}


def _nodes(model: onnx.ModelProto, halves: set[str]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes, with rows cast behind each look-up, and a Cast in front for every tensor that anything else reads."""
    looked = [is_look_up(node) and node.input[0] in halves for node in model.graph.node]
    others = {name for node, row in zip(model.graph.node, looked, strict=True) for name in node.input[1 if row else 0 :]}
    whole = halves & (others | {value.name for value in model.graph.output})
    yield from (helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT) for name in sorted(whole))
    for node, row in zip(model.graph.node, looked, strict=True):
        if not row:
            yield node
            continue
        out = node.output[0]
        yield helper.make_node("Gather", [f"{node.input[0]}.half", node.input[1]], [f"{out}.half"], axis=0)
        yield helper.make_node("Cast", [f"{out}.half"], [out], to=onnx.TensorProto.FLOAT)
