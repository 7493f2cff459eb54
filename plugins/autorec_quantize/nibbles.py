"""`int4-tables`: large look-up tables in four bits with a scale and an offset a row, by standard operators."""

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
from autorec_quantize.graphs import graph_of, looked_up, smaller, with_look_ups

__all__ = ["Int4Tables", "quantise_nibbles"]

_NARROWEST = 8  # columns below which scale and offset of a row cost as much as they save
_LEVELS = 15  # the largest of sixteen codes
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)  # shares of a row's range that are tried
_ROWS = 65536  # quantised at a time
_CONSTANTS = {"nibble.mask": np.uint8(15), "nibble.shift": np.uint8(4), "nibble.axis": np.array([-1]), "nibble.start": np.array([0])}


class Int4Tables:
    """Replaces tables that are only looked up; a table that a matrix product reads too stays as it is.

    A byte holds column j in its low half and column j + ⌈D/2⌉ in its high half; odd widths are padded. Of nine ranges from all of a row's
    range to 60 % of it the one with the least squared error is taken (Guan et al. 2019 search each row as well).
    """

    class Config(ComponentConfig):
        """Options."""

        smallest: Annotated[int, Int(1024, 1048576, log=True)] = Field(
            4096, ge=0, le=2**40, description="Numbers below which a table stays as it is."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the defaults where the graph holds a table that is large enough, for targets that count bytes first."""
        if target.prefer == "bytes" and model.graph is not None and looked_up(graph_of(model), self.config.smallest, _NARROWEST):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with four-bit tables; the same graph gives the same bytes.

        Raises:
            NotApplicable: No table is large enough, or the bytes did not shrink.
        """
        plain = graph_of(model)
        tables = looked_up(plain, self.config.smallest, _NARROWEST)
        if not tables:
            raise NotApplicable(f"no table of {self.config.smallest} numbers or more is only looked up")
        return smaller(model, normalise(_rewritten(plain, tables)))


def quantise_nibbles(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (packed uint8 [R, ⌈D/2⌉], scale and offset [R, 2]) with table ≈ codes * scale + offset.

    Scale and offset are float16, or float32 where float16 cannot hold them. The mean squared error of a row is at most that of rounding to
    sixteen even steps over its whole range, about (range / 15)² / 12.

    Args:
        table: float32 [R, D].
    """
    kind = np.float16 if np.abs(table).max(initial=0.0) < np.finfo(np.float16).max / 2 else np.float32
    parts = [_coded(table[start : start + _ROWS], kind) for start in range(0, len(table), _ROWS)]
    codes = np.concatenate([part[0] for part in parts])
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    half = codes.shape[1] // 2
    return codes[:, :half] | codes[:, half:] << 4, np.concatenate([part[1] for part in parts])


def _coded(rows: np.ndarray, kind: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [r, D] codes of 0…15, and their scale and offset [r, 2], of the best of the ranges tried for each row."""
    low, high = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
    centre, reach = (low + high) / 2, (high - low) / 2
    best, ranges = np.zeros(rows.shape, np.uint8), np.zeros((len(rows), 2), kind)
    least = np.full((len(rows), 1), np.inf, np.float32)
    for clip in _CLIPS:
        rounded = np.concatenate([2 * reach * clip / _LEVELS, centre - reach * clip], 1).astype(kind)
        scale, offset = rounded[:, :1].astype(np.float32), rounded[:, 1:].astype(np.float32)
        steps = np.divide(rows - offset, scale, out=np.zeros_like(rows), where=scale > 0)
        codes = np.clip(np.rint(steps), 0, _LEVELS)
        error = np.square(codes * scale + offset - rows).sum(1, keepdims=True)
        better = error < least
        best, ranges = np.where(better, codes, best).astype(np.uint8), np.where(better, rounded, ranges)
        least = np.where(better, error, least)
    return best, ranges


def _rewritten(model: onnx.ModelProto, tables: dict[str, onnx.TensorProto]) -> onnx.ModelProto:
    stored = {name: np.asarray(value) for name, value in _CONSTANTS.items()}
    for name, tensor in tables.items():
        packed, ranges = quantise_nibbles(numpy_helper.to_array(tensor).astype(np.float32))
        stored |= {f"{name}.nibbles": packed, f"{name}.ranges": ranges}
        if tensor.dims[1] % 2:
            stored[f"{name}.width"] = np.array([tensor.dims[1]])
    if not any(tensor.dims[1] % 2 for tensor in tables.values()):
        stored = {name: value for name, value in stored.items() if name not in ("nibble.axis", "nibble.start")}
    return with_look_ups(model, tables, stored, lambda node: _look_up(node, tables[node.input[0]].dims[1]))


def _look_up(node: onnx.NodeProto, width: int) -> list[onnx.NodeProto]:
    """Return the nodes that replace a row look-up: codes * scale + offset, padding cut off."""
    table, rows, out = node.input[0], node.input[1], node.output[0]
    full = f"{out}.full" if width % 2 else out
    made = [
        helper.make_node("Gather", [f"{table}.nibbles", rows], [f"{out}.packed"], axis=0),
        helper.make_node("BitwiseAnd", [f"{out}.packed", "nibble.mask"], [f"{out}.low"]),
        helper.make_node("BitShift", [f"{out}.packed", "nibble.shift"], [f"{out}.high"], direction="RIGHT"),
        helper.make_node("Concat", [f"{out}.low", f"{out}.high"], [f"{out}.codes"], axis=-1),
        helper.make_node("Cast", [f"{out}.codes"], [f"{out}.steps"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [f"{table}.ranges", rows], [f"{out}.ranges"], axis=0),
        helper.make_node("Cast", [f"{out}.ranges"], [f"{out}.wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Split", [f"{out}.wide"], [f"{out}.scale", f"{out}.offset"], axis=-1, num_outputs=2),
        helper.make_node("Mul", [f"{out}.steps", f"{out}.scale"], [f"{out}.scaled"]),
        helper.make_node("Add", [f"{out}.scaled", f"{out}.offset"], [full]),
    ]
    if width % 2:
        made.append(helper.make_node("Slice", [full, "nibble.start", f"{table}.width", "nibble.axis"], [out]))
    return made
