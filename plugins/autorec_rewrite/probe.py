"""What a graph's values look like at several sizes of its free axes: found by running it, which tells free axes from fixed ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.net import Net

__all__ = ["Shapes", "Size", "feeds", "probed", "run", "runs", "sizes_of", "told_once"]

Size = int | tuple[int, ...]  # the same at every probe, or what it was at each
Inputs = Mapping[str, np.ndarray]
_FEW = 16  # numbers of an int64 value that are kept
_BATCHES = (5, 7, 11)
_LENGTHS = ((3, 6, 4), (2, 5, 9), (4, 2, 8), (6, 3, 2), (8, 4, 3), (9, 2, 6))  # of each free axis at each probe
_STEPS = 50  # of a history without a bound


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes of every value, and the numbers of small int64 ones; a free axis has another size at each probe.

    Args:
        dims: Value → sizes of its axes.
        numbers: Value → its numbers (int64, at most sixteen, as many at every probe).
    """

    dims: Mapping[str, tuple[Size, ...]]
    numbers: Mapping[str, tuple[Size, ...]]


def run(graph: bytes, inputs: Inputs, wanted: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return outputs (or other values too) by name, from a graph that onnxruntime runs as it stands."""
    return next(runs(graph, [inputs], wanted))


def runs(graph: bytes, cases: Iterable[Inputs], wanted: Sequence[str] = ()) -> Iterator[dict[str, np.ndarray]]:
    """Yield what `run` returns for each case, from one session."""
    model = onnx.ModelProto.FromString(graph)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if wanted:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    given = {value.name for value in session.get_inputs()}
    for inputs in cases:
        yield dict(zip(names, session.run(names, {name: value for name, value in inputs.items() if name in given}), strict=True))


def probed(net: Net, model: CompressedModel) -> Shapes:
    """Return what the values look like.

    Raises:
        NotApplicable: The graph does not run on histories of a few steps.
    """
    rng = np.random.default_rng(0)
    seen = []
    for number, batch in enumerate(_BATCHES):
        inputs = feeds(net, model, batch, rng, turn=number)
        try:
            seen.append(_seen(net, inputs))
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            raise NotApplicable(f"the graph cannot be probed: {str(error)[:200]}") from error
    names = [name for name in seen[0] if len({found[name].ndim for found in seen}) == 1]
    dims = {name: tuple(_joined(sizes) for sizes in zip(*(found[name].shape for found in seen), strict=True)) for name in names}
    small = [name for name in names if all(found[name].dtype == np.int64 and found[name].size <= _FEW for found in seen)]
    even = [name for name in small if len({found[name].size for found in seen}) == 1]
    numbers = {name: tuple(_joined(values) for values in zip(*(found[name].ravel() for found in seen), strict=True)) for name in even}
    return Shapes(dims, numbers)


def sizes_of(net: Net, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Return value → its shape for these inputs."""
    return {name: value.shape for name, value in _seen(net, inputs).items()}


def feeds(net: Net, model: CompressedModel, rows: int, rng: np.random.Generator, *, turn: int = -1) -> dict[str, np.ndarray]:
    """Return random valid inputs; of the histories the first is full, the second has one step, the third is empty.

    Args:
        rows: Batch size.
        turn: Number of the probe, which decides how long free axes are; -1 = the longest histories that the model reads.
    """
    schema = {feature.name: feature for feature in model.model.features.features}
    lengths = _free(net, dict(getattr(model.model.module, "lengths", None) or {}), turn)
    made: dict[str, np.ndarray] = {}
    for value in net.model.graph.input:
        axes = list(value.type.tensor_type.shape.dim)
        shape = [rows, *(axis.dim_value or lengths[axis.dim_param] for axis in axes[1:])]
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            made[value.name] = rng.normal(size=shape).astype(np.float32)
        else:
            made[value.name] = _ids(shape, schema[value.name].size if value.name in schema else _rows(net, value.name), rng)
    return made


def told_once(net: Net) -> list[str]:
    """Return the inputs that may have one row for all rows of the others: those whose first axis is not the one of the outputs."""
    ends = {value.type.tensor_type.shape.dim[0].dim_param for value in net.model.graph.output if value.type.tensor_type.shape.dim}
    first = {value.name: value.type.tensor_type.shape.dim[0].dim_param for value in net.model.graph.input}
    rows = ends & set(first.values()) - {""}
    return [name for name, axis in first.items() if rows and axis not in rows]


def _free(net: Net, bounds: Mapping[str, int], turn: int) -> dict[str, int]:
    """Return free axis → its length; each axis has a length of its own in some probe."""
    found: dict[str, int] = {}
    for value in net.model.graph.input:
        for axis in list(value.type.tensor_type.shape.dim)[1:]:
            most = int(bounds.get(value.name, 0)) or _STEPS
            if not axis.dim_value:
                row = _LENGTHS[len(found) % len(_LENGTHS)]
                found[axis.dim_param] = min(found.get(axis.dim_param, most), most if turn < 0 else row[turn])
    return found


def _ids(shape: Sequence[int], size: int, rng: np.random.Generator) -> np.ndarray:
    found = rng.integers(1 if size > 1 else 0, max(2, size) if size != 1 else 1, shape, dtype=np.int64)
    if len(shape) < 2:
        return found
    real = rng.integers(0, shape[1] + 1, shape[0])
    real[: min(3, shape[0])] = [shape[1], 1, 0][: min(3, shape[0])]
    return np.where(np.arange(shape[1]) < real[:, None], found, 0)


def _rows(net: Net, name: str) -> int:
    """Return the rows of the smallest constant table that reads an input straight."""
    sizes = [
        net.stored[entry.input[0]].dims[0]
        for entry in net.nodes
        if entry.op_type == "Gather" and entry.input[1] == name and entry.input[0] in net.stored
    ]
    return min(sizes, default=2)


def _seen(net: Net, inputs: Inputs) -> dict[str, np.ndarray]:
    graph = onnx.ModelProto()
    graph.CopyFrom(net.model)
    graph.graph.ClearField("node")
    graph.graph.ClearField("initializer")
    graph.graph.node.extend(net.nodes)
    graph.graph.initializer.extend(net.stored.values())
    wanted = [name for entry in net.nodes for name in entry.output if name]
    found = run(graph.SerializeToString(), inputs, wanted)
    return {
        **found,
        **{name: np.asarray(value) for name, value in inputs.items()},
        **{name: array for name in net.stored if (array := net.array(name)) is not None},
    }


def _joined(sizes: Sequence[Any]) -> Size:
    whole = tuple(int(size) for size in sizes)
    return whole[0] if len(set(whole)) == 1 else whole
