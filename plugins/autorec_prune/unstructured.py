"""`unstructured`: the smallest weights of all products become zero, and zeros are stored as one bit each; it saves bytes and no time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float, Int
from autorec_prune.graphs import graph_of, readers_of, rebuilt, smaller

__all__ = ["Unstructured", "packed"]

_SHIFTS = {"bits.shift": np.arange(8, dtype=np.uint8)[None], "bits.one": np.uint8(1), "bits.axis": np.int64(0), "bits.flat": np.array([-1])}


class Unstructured:
    """Global magnitude pruning (Han et al. 2015) of constant matrices, without training afterwards.

    A matrix is stored as one bit a weight and the float32 values of those that are left, and unpacked by standard operators on constants
    when the model loads: at 80 % it takes 0.8 + 0.125 bytes a weight instead of 4, and from then on it is the dense matrix it was, so
    that answers take as long as before.
    """

    class Config(ComponentConfig):
        """Options."""

        sparsity: Annotated[float, Float(0.5, 0.95)] = Field(0.8, gt=0, lt=1, description="Share of all weights that become zero.")
        smallest: Annotated[int, Int(1024, 65536, log=True)] = Field(
            4096, ge=8, le=2**40, description="Weights below which a matrix stays as it is."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    place: ClassVar[int] = 7

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph is larger than the target allows: eight bits are as small, and faster."""
        if model.graph is not None and 0 < target.max_bytes < len(model.graph) and _matrices(graph_of(model), self.config.smallest):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with sparse matrices; the same graph gives the same bytes.

        Raises:
            NotApplicable: No matrix is large enough, or the bytes did not shrink.
        """
        plain = graph_of(model)
        matrices = _matrices(plain, self.config.smallest)
        if not matrices:
            raise NotApplicable(f"no product has a constant matrix of {self.config.smallest} weights or more")
        sizes = np.concatenate([np.abs(matrix).ravel() for matrix in matrices.values()])
        least = np.partition(sizes, int(self.config.sparsity * len(sizes)))[int(self.config.sparsity * len(sizes))]
        stored = {name: np.asarray(value) for name, value in _SHIFTS.items()}
        for name, matrix in matrices.items():
            bits, values = packed(np.where(np.abs(matrix) >= least, matrix, 0.0))
            stored |= {f"{name}.bits": bits[:, None], f"{name}.values": values, f"{name}.shape": np.array(matrix.shape)}
            stored |= {f"{name}.start": np.array([0]), f"{name}.end": np.array([matrix.size])}
        unpacking = [node for name in matrices for node in _unpacked(name)]
        return smaller(model, rebuilt(plain, [*unpacking, *plain.graph.node], stored))


def packed(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (uint8 [⌈n / 8⌉], bit i of byte j is set where number 8j + i is not zero; float32 [1 + kept], 0 and those numbers)."""
    flat = matrix.ravel().astype(np.float32)
    return np.packbits(flat != 0, bitorder="little"), np.concatenate([np.zeros(1, np.float32), flat[flat != 0]])


def _matrices(model: onnx.ModelProto, smallest: int) -> dict[str, np.ndarray]:
    """Return the large float32 constants that products read and nothing else."""
    readers = readers_of(model)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2]
    large = [tensor for tensor in floats if tensor.dims[0] * tensor.dims[1] >= smallest]
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in large
        if readers.get(tensor.name) and all(node.op_type in ("MatMul", "Gemm") for node in readers[tensor.name])
    }


def _unpacked(name: str) -> Iterator[onnx.NodeProto]:
    """Yield what makes the matrix of its bits and values: place of a kept weight = how many bits are set up to it, else 0."""
    yield helper.make_node("BitShift", [f"{name}.bits", "bits.shift"], [f"{name}.shifted"], direction="RIGHT")
    yield helper.make_node("BitwiseAnd", [f"{name}.shifted", "bits.one"], [f"{name}.single"])
    yield helper.make_node("Cast", [f"{name}.single"], [f"{name}.numbers"], to=onnx.TensorProto.INT32)
    yield helper.make_node("Reshape", [f"{name}.numbers", "bits.flat"], [f"{name}.padded"])
    yield helper.make_node("Slice", [f"{name}.padded", f"{name}.start", f"{name}.end"], [f"{name}.mask"])
    yield helper.make_node("CumSum", [f"{name}.mask", "bits.axis"], [f"{name}.count"])
    yield helper.make_node("Mul", [f"{name}.count", f"{name}.mask"], [f"{name}.place"])
    yield helper.make_node("Gather", [f"{name}.values", f"{name}.place"], [f"{name}.flat"], axis=0)
    yield helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name])
