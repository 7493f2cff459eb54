"""`config.pbtxt` of a Triton model: protobuf's text format of `inference.ModelConfig`, written out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from autorec_export.ports import Port

__all__ = ["Tensor", "batched", "config"]

_TYPES = {"int64": "TYPE_INT64", "int32": "TYPE_INT32", "float32": "TYPE_FP32", "float64": "TYPE_FP64", "text": "TYPE_STRING"}
_DELAY_US = 200  # how long a request waits for others to share its batch


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a request, without its batch axis.

    Args:
        dtype: int32, int64, float32, float64 or text.
        dims: Sizes; -1 where free; empty = one value a row.
        squeezed: One value a row for the graph, which Triton carries as an axis of one.
        optional: A request may leave it out.
    """

    name: str
    dtype: str
    dims: tuple[int, ...] = (1,)
    squeezed: bool = False
    optional: bool = False


def batched(port: Port) -> Tensor:
    """Return a port of a graph whose first axis is the batch."""
    return Tensor(port.name, port.dtype, port.shape[1:] or (1,), squeezed=len(port.shape) == 1)


def config(
    name: str, backend: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, batch: int, note: str, threads: bool = False
) -> str:
    """Return the text of a configuration.

    Args:
        name: Name of the model and of its folder.
        backend: onnxruntime or python.
        batch: The largest batch; requests that wait together share one.
        note: A comment for whoever reads the file.
        threads: Give the graph one thread; more instances use more cores.
    """
    lines = [f"# {line}" for line in note.splitlines()]
    lines += [f"name: {_text(name)}", f"backend: {_text(backend)}", f"max_batch_size: {batch}"]
    lines += [part for kind, tensors in (("input", inputs), ("output", outputs)) for part in _tensors(kind, tensors)]
    lines += ["dynamic_batching {", f"  max_queue_delay_microseconds: {_DELAY_US}", "}"]
    lines += ["instance_group [", "  {", "    count: 1", "    kind: KIND_CPU", "  }", "]"]
    lines += ["version_policy { latest { num_versions: 1 } }"]
    if threads:
        lines += [
            f'parameters {{ key: {_text(key)} value {{ string_value: "1" }} }}'
            for key in ("intra_op_thread_count", "inter_op_thread_count")
        ]
    return "\n".join(lines) + "\n"


def _tensors(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    return [line for tensor in tensors for line in (f"{kind} {{", *(f"  {one}" for one in _fields(tensor)), "}")]


def _fields(tensor: Tensor) -> list[str]:
    found = [f"name: {_text(tensor.name)}", f"data_type: {_TYPES[tensor.dtype]}", f"dims: [ {', '.join(map(str, tensor.dims))} ]"]
    return found + (["reshape { shape: [ ] }"] if tensor.squeezed else []) + (["optional: true"] if tensor.optional else [])


def _text(value: str) -> str:
    """Return a quoted string: the escapes of JSON's ASCII form are those of protobuf's text format."""
    return json.dumps(value)
