"""`int8-dynamic`: matrix products in eight-bit integers; weights are scaled per output column, activations per call (Jacob et al. 2018)."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.deploy.rewrite import tie_tables
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Int
from autorec_quantize.graphs import graph_of, smaller, widened
from autorec_quantize.shared import share_tables, untie_tables

__all__ = ["DynamicInt8"]

_OPS = ["MatMul", "Gemm"]  # the default list holds Gather too, which damages tables that are already integers
_PROOF = {"MatMulInteger", "DynamicQuantizeLinear"}


class DynamicInt8:
    """Quantises the constant side of matrix products; small ones stay in float32, where integers would only add nodes.

    `int8-weights` stores those in eight bits, which rounds no activation.
    """

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(256, 65536, log=True)] = Field(
            16384, ge=0, le=2**40, description="Weights below which a product stays in float32."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 4

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a product that is large enough."""
        if model.graph is not None and _large(untie_tables(widened(graph_of(model), self.config.smallest)), self.config.smallest):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with a quantised graph; the same graph gives the same bytes.

        Raises:
            NotApplicable: No product is large enough, or the bytes did not shrink.
        """
        wide = widened(graph_of(model), self.config.smallest)
        plain = untie_tables(wide)
        chosen = _large(plain, self.config.smallest)
        if not chosen:
            raise NotApplicable(f"no matrix product has {self.config.smallest} constant weights or more")
        small = tie_tables(normalise(share_tables(_quantised(plain, chosen), _tied(wide))))
        if _PROOF - {node.op_type for node in onnx.ModelProto.FromString(small).graph.node}:
            raise NotApplicable("the quantiser left every product in float32")
        return smaller(model, small)


def _large(model: onnx.ModelProto, smallest: int) -> list[str]:
    """Return the names of products whose second input is one constant matrix of at least `smallest` numbers.

    The quantiser gives stacks of matrices a zero point that onnxruntime refuses when the graph runs.
    """
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2]
    sizes = {tensor.name: tensor.dims[0] * tensor.dims[1] for tensor in floats}
    return [node.name for node in model.graph.node if node.op_type in _OPS and sizes.get(node.input[1], 0) >= smallest]


def _tied(model: onnx.ModelProto) -> dict[str, str]:
    """Return table → its transposed copy, for tables that look-ups and a product share."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in stored}


def _quantised(model: onnx.ModelProto, chosen: list[str]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "small.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=_OPS,
            nodes_to_quantize=[*chosen, *(f"{name}_MatMul" for name in chosen)],  # a Gemm becomes a MatMul of that name first
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        written: onnx.ModelProto = onnx.ModelProto.FromString(path.read_bytes())
        return written


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which it writes to the root logger, away from the user."""
    root = logging.getLogger()

    def silent(record: logging.LogRecord) -> bool:
        return False

    root.addFilter(silent)
    try:
        yield
    finally:
        root.removeFilter(silent)
