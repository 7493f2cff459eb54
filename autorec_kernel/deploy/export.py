"""Torch network → ONNX bytes that name no path and repeat byte for byte, and the proof that both answer alike."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch
from torch import nn

from autorec_kernel.deploy.normalise import OPSET, normalise
from autorec_kernel.deploy.rewrite import tie_tables, with_items
from autorec_kernel.errors import BundleError
from autorec_kernel.serving.graph import Graph

__all__ = ["PARITY", "export_onnx", "graph_spec", "parity", "tile_rows"]

PARITY = 1e-5  # largest accepted difference, relative to max(1, |y|)
_BATCHES = (1, 2, 17)
_TRACE_ROWS = 3  # neither 0 nor 1, which the exporter would make constant


class _Serving(nn.Module):
    """The serving forward of a network as a module of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network.serve(*inputs))  # type: ignore[operator]


def export_onnx(network: Any, sample: Mapping[str, np.ndarray]) -> bytes:
    """Export the serving graph with a free batch size, and free lengths of bags and histories where the network allows them.

    Args:
        network: `models.Network` in eval mode.
        sample: Input name → array of a few rows (at least one).

    Returns:
        Serialised ONNX, opset 20, IR 10, no external data, no doc strings; the same network gives the same bytes.

    Raises:
        BundleError: torch cannot export the network.
    """
    arguments = _tensors(network, _traced(network, sample))
    getattr(network, "store", lambda: None)()  # what depends on no row is exported as tables
    shapes = tuple(dict.fromkeys(range(2 if _free(tensor) else 1), torch.export.Dim.AUTO) for tensor in arguments)
    with _quiet(), _operators()():
        try:
            program = torch.onnx.export(
                _Serving(network).eval(),
                tuple(arguments),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=list(network.inputs),
                output_names=list(network.serving_outputs),
                dynamic_shapes=(shapes,),
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # torch raises dozens of classes here
            raise BundleError(f"the network cannot be exported to ONNX: {str(error)[:500]}") from error
        assert program is not None
        data = tie_tables(normalise(program.model_proto))
    if tuple(network.serving_outputs) == ("user",):
        data = with_items(data, network.item_vectors().cpu().numpy())
    _check_batch(data)
    return data


def parity(network: Any, graph: bytes, sample: Mapping[str, np.ndarray], *, tolerance: float = PARITY) -> float:
    """Compare torch and onnxruntime at batch sizes 1, 2 and 17.

    Args:
        network: The network the graph was exported from.
        graph: Serialised ONNX.
        sample: Input name → array of a few rows; rows repeat to fill a batch.
        tolerance: Largest accepted difference relative to max(1, |y|).

    Returns:
        The largest relative difference found.

    Raises:
        BundleError: It exceeds the tolerance, or shapes differ.
    """
    session = Graph(graph, graph_spec(network), name="exported graph")
    worst = 0.0
    for batch in _BATCHES:
        inputs = tile_rows(sample, batch)
        with torch.no_grad():
            expected = [value.numpy() for value in network.serve(*_tensors(network, inputs))]
        found = session.run(inputs)
        worst = max(worst, *(_gap(a, found[name]) for name, a in zip(network.serving_outputs, expected, strict=True)))
    if not worst <= tolerance:
        raise BundleError(f"the exported graph differs from the network by {worst:.3g} (at most {tolerance:.3g} is accepted)")
    return worst


def graph_spec(network: Any) -> dict[str, Any]:
    """Return what serving must know about a network's graph: inputs, outputs, history lengths."""
    lengths = {name: int(length) for name, length in dict(getattr(network, "lengths", {})).items() if name in network.inputs}
    return {"inputs": list(network.inputs), "outputs": list(network.serving_outputs), "lengths": lengths}


def tile_rows(sample: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """Return the sample repeated or cut to `rows` rows."""
    return {name: np.ascontiguousarray(value[np.arange(rows) % len(value)]) for name, value in sample.items()}


def _traced(network: Any, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the rows that the graph is recorded with: bags of one value get a second, empty place, or the graph would allow no more."""
    bounded = getattr(network, "lengths", {})
    rows = tile_rows(sample, _TRACE_ROWS)
    single = [n for n, value in rows.items() if value.ndim == 2 and value.shape[1] == 1 and value.dtype.kind in "iu" and not bounded.get(n)]
    return {**rows, **{name: np.pad(rows[name], ((0, 0), (0, 1))) for name in single}}


def _tensors(network: Any, inputs: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(_as_model_type(inputs[name])) for name in network.inputs]


def _as_model_type(value: np.ndarray) -> np.ndarray:
    return np.array(value, dtype=np.int64 if value.dtype.kind in "iu" else np.float32)


def _free(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 2 and not tensor.is_floating_point() and tensor.shape[1] > 1


def _gap(expected: np.ndarray, found: np.ndarray) -> float:
    if expected.shape != found.shape:
        raise BundleError(f"the exported graph answers {found.shape}, the network {expected.shape}")
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(expected - found) / np.maximum(1.0, np.abs(expected)))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))


def _check_batch(data: bytes) -> None:
    model = onnx.ModelProto.FromString(data)
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape.dim
        if value in model.graph.input and (not shape or shape[0].HasField("dim_value")):
            raise BundleError(f"the exported graph fixes the batch size of {value.name!r}")


@functools.cache
def _operators() -> Any:
    """Return a context in which torch reads its table of operators once a process, not once an export, which is half of its time.

    Versions of torch that keep the table elsewhere read it as often as they like.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return contextlib.nullcontext
    return functools.partial(mock.patch.object, ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, logs and deprecation warnings away from the user."""
    names: Sequence[str] = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch._dynamo")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
