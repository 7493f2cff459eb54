"""`int4-weights`: large constant matrices in four bits with one scale a block, by onnxruntime's own operator MatMulNBits."""

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
from autorec_quantize.graphs import graph_of, rebuilt, smaller, widened

__all__ = ["Int4Weights", "quantise_blocks"]

_DOMAIN = "com.microsoft"
_MIDDLE = 8  # the code of 0 among sixteen
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8)  # shares of a block's range that are tried
_INTEGERS = 4  # accuracy level at which activations are rounded to eight bits in each block: two to three times as fast


class Int4Weights:
    """Quantises what multiplies by a large constant; Gemm becomes a product and an Add first.

    For one row at a time: a product of four-bit weights reads an eighth of the memory, but a batch is multiplied no faster than float32.
    """

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(64, 4096, log=True)] = Field(
            256, ge=16, le=2**20, description="Rows and columns below which a matrix stays as it is."
        )
        block: Literal[32, 64, 128] = Field(64, description="Weights of one column that share a scale.")

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 5

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a matrix that is large enough, for targets that count bytes first."""
        if (
            target.prefer == "bytes"
            and model.graph is not None
            and _large(widened(graph_of(model), self.config.smallest**2), self.config.smallest)
        ):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with four-bit matrices; the same graph gives the same bytes.

        Raises:
            NotApplicable: No matrix is large enough, or the bytes did not shrink.
        """
        plain = widened(graph_of(model), self.config.smallest**2)
        chosen = _large(plain, self.config.smallest)
        if not chosen:
            raise NotApplicable(f"no product has a constant matrix of {self.config.smallest} x {self.config.smallest} or more to itself")
        return smaller(model, normalise(_rewritten(plain, chosen, self.config.block)))


def quantise_blocks(weights: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (codes uint8 [O, blocks, block / 2], scales float32 [O * blocks]) with weights ≈ (code - 8) * scale.

    A byte holds two neighbours, the first in its low half. Of five ranges for each block the one with the least squared error is taken, so
    that the error of a block is at most that of rounding by a scale of an eighth of its largest weight.

    Args:
        weights: float32 [O, I], one row an output; I is padded with zeros to whole blocks.
    """
    outputs, inputs = weights.shape
    padded = np.pad(weights, ((0, 0), (0, -inputs % block))).reshape(outputs, -1, block)
    largest = np.take_along_axis(padded, np.abs(padded).argmax(2)[..., None], 2)
    best, scales = np.full(padded.shape, _MIDDLE, np.uint8), np.zeros(largest.shape, np.float32)
    least = np.full(largest.shape, np.inf, np.float32)
    for clip in _CLIPS:
        scale = (largest * (clip / -_MIDDLE)).astype(np.float32)  # the largest weight gets code 0, whatever its sign
        steps = np.divide(padded, scale, out=np.zeros_like(padded), where=scale != 0)
        codes = np.clip(np.rint(steps) + _MIDDLE, 0, 15)
        error = np.square((codes - _MIDDLE) * scale - padded).sum(2, keepdims=True)
        better = error < least
        best, scales = np.where(better, codes, best).astype(np.uint8), np.where(better, scale, scales)
        least = np.where(better, error, least)
    return best[..., 0::2] | best[..., 1::2] << 4, scales.reshape(-1)


def _large(model: onnx.ModelProto, smallest: int) -> dict[str, np.ndarray]:
    """Return constant → float32 [O, I] of the large matrices that one product reads and nothing else."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2 or min(tensor.dims) < smallest:
            continue
        nodes = readers.get(tensor.name, [])
        if len(nodes) == 1 and _multiplies(nodes[0], tensor.name):
            value = numpy_helper.to_array(tensor)
            found[tensor.name] = value if _option(nodes[0], "transB") else value.T
    return found


def _multiplies(node: onnx.NodeProto, name: str) -> bool:
    """Return whether a node is x · W, or x · W + b, with the constant W."""
    if node.op_type not in ("MatMul", "Gemm") or list(node.input).count(name) != 1 or node.input[1] != name:
        return False
    plain = _option(node, "alpha", 1.0) == 1.0 and _option(node, "beta", 1.0) == 1.0 and not _option(node, "transA")
    return node.op_type == "MatMul" or plain


def _option(node: onnx.NodeProto, name: str, default: float = 0.0) -> float:
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else float(helper.get_attribute_value(found))


def _rewritten(model: onnx.ModelProto, chosen: dict[str, np.ndarray], block: int) -> onnx.ModelProto:
    stored = [tensor for tensor in model.graph.initializer if tensor.name not in chosen]
    for name, weights in chosen.items():
        codes, scales = quantise_blocks(np.ascontiguousarray(weights), block)
        stored += [numpy_helper.from_array(codes, f"{name}.codes"), numpy_helper.from_array(scales, f"{name}.scales")]
    nodes = [part for node in model.graph.node for part in _product(node, chosen, block)]
    small = rebuilt(model, nodes, stored)
    if all(entry.domain != _DOMAIN for entry in small.opset_import):
        small.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return small


def _product(node: onnx.NodeProto, chosen: dict[str, np.ndarray], block: int) -> Iterator[onnx.NodeProto]:
    name = node.input[1] if len(node.input) > 1 else ""
    if name not in chosen or node.op_type not in ("MatMul", "Gemm"):
        yield node
        return
    offset = node.input[2] if len(node.input) > 2 else ""
    out = f"{node.output[0]}.product" if offset else node.output[0]
    outputs, inputs = chosen[name].shape
    options = {"N": outputs, "K": inputs, "bits": 4, "block_size": block, "accuracy_level": _INTEGERS}
    yield helper.make_node("MatMulNBits", [node.input[0], f"{name}.codes", f"{name}.scales"], [out], domain=_DOMAIN, **options)
    if offset:
        yield helper.make_node("Add", [out, offset], [node.output[0]])
