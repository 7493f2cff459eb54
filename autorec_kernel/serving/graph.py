"""One model of a bundle behind an onnxruntime session: checked inputs in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from operator import attrgetter, itemgetter, lt
from typing import Any

import numpy as np
import onnxruntime

from autorec_kernel.errors import BundleError

__all__ = ["ITEMS", "PACKED", "Graph", "fit_length"]

ITEMS = "@items"  # output float32 [N, D] of a factorised retriever, which depends on no input
PACKED = "\x1f"  # between the names of features whose columns are one input of the graph, side by side
_FEW = 16  # ids up to which a list is compared more quickly than an array
_NEGATIVE = 1 << 63  # the least that a negative int64 is as uint64
_KIND, _INTEGER = attrgetter("dtype"), np.dtype(np.int64)


class Graph:
    """A session on one ONNX model.

    Args:
        data: Bytes of a model that `wire.check_graph` accepted.
        spec: `inputs` (names), `outputs` (names), `sizes` (id input → rows of its vocabulary), `lengths` (history → steps, 0 = any).
        name: Member named in errors.
        threads: Threads of one request.

    Attributes:
        once: Inputs with a first axis of their own: they have one row for all rows of the others, or as many.

    Raises:
        BundleError: onnxruntime cannot load it, or it has other inputs than its spec says.
    """

    def __init__(self, data: bytes, spec: Mapping[str, Any], *, name: str = "model", threads: int = 1) -> None:
        self.name = name
        self.inputs: tuple[str, ...] = tuple(spec["inputs"])
        self.outputs: tuple[str, ...] = tuple(spec["outputs"])
        self._answers = list(self.outputs)
        self.lengths: dict[str, int] = dict(spec.get("lengths", {}))
        self._session = _session(data, name, threads)
        ports = self._session.get_inputs()
        self._wanted = {one.name: [one.name] if one.name in self.inputs else one.name.split(PACKED) for one in ports}
        sizes = spec.get("sizes", {})
        self._sizes = {port: [int(sizes.get(part) or _NEGATIVE) for part in parts] for port, parts in self._wanted.items()}
        self._parts = {port: itemgetter(*parts) if len(parts) > 1 else _alone(parts[0]) for port, parts in self._wanted.items()}
        axes = {part: one.shape[:1] for one in ports for part in self._wanted[one.name]}
        rows = [entry.shape[:1] for entry in self._session.get_outputs() if entry.shape[:1] in axes.values()]
        self.once = {name for name, axis in axes.items() if rows and axis not in rows}
        packed = [one for one in ports if len(self._wanted[one.name]) > 1]
        odd = sum(map(len, self._wanted.values())) > len(axes) or any(len(one.shape) != 2 for one in packed)
        unknown, found = set(axes) - set(self.inputs), [entry.name for entry in self._session.get_outputs()]
        if odd or unknown or found[: len(self.outputs)] != self._answers or found[len(self.outputs) :] not in ([], [ITEMS]):
            raise BundleError(f"the model's inputs or outputs are not those of the schema ({sorted(unknown)})", where=name)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch.

        Features that the graph packed into one input are put side by side.

        Args:
            inputs: Feature name → id int64 [A], bag int64 [A, W], history int64 [A, L] (right-padded with 0) or numeric float32 [A, w].

        Returns:
            Output name → float32 [A, …].

        Raises:
            BundleError: An id lies outside its vocabulary (onnxruntime would read another row without a word), or the session fails.
        """
        made = self._call(self._answers, lambda: {port: self._feed(port, parts(inputs)) for port, parts in self._parts.items()})
        return dict(zip(self.outputs, made, strict=True))

    def items(self) -> np.ndarray | None:
        """Return the item vectors float32 [N, D] that the graph holds; None where it has none.

        Raises:
            BundleError: The session fails.
        """
        if ITEMS not in [entry.name for entry in self._session.get_outputs()]:
            return None
        return np.asarray(self._call([ITEMS], lambda: {one.name: _zeros(one) for one in self._session.get_inputs()})[0])

    def _call(self, wanted: list[str], feeds: Callable[[], dict[str, np.ndarray]]) -> list[np.ndarray]:
        try:
            return list(self._session.run(wanted, feeds()))
        except (BundleError, KeyError):
            raise
        except Exception as error:  # onnxruntime raises its own, undocumented classes; numpy where memory or shapes do not do
            raise BundleError(f"the model failed: {str(error)[:300]}", where=self.name) from error

    def _feed(self, port: str, parts: Sequence[np.ndarray]) -> np.ndarray:
        value = np.asarray(parts[0]) if len(parts) == 1 else _beside(parts)
        if port in self.lengths and value.ndim == 2:
            value = fit_length(value, self.lengths[port])
        if value.dtype.kind not in "iu":
            return np.ascontiguousarray(value, dtype=np.float32)
        sizes = self._sizes[port]
        if 0 < value.size <= _FEW and value.dtype is _INTEGER and self._few(value.ravel().tolist(), sizes):
            return value
        value = np.ascontiguousarray(value, dtype=np.int64)
        wrong = value.view(np.uint64) >= np.array(sizes, np.uint64)  # a negative one is the largest
        if np.count_nonzero(wrong):
            place = int(np.argwhere(wrong)[0][-1]) if len(parts) > 1 else 0
            raise BundleError(f"input {self._wanted[port][place]!r} holds an id outside 0..{sizes[place] - 1}", where=self.name)
        return value

    @staticmethod
    def _few(ids: list[int], sizes: list[int]) -> bool:
        """Return whether ids, row by row, lie in their vocabularies."""
        return min(ids) >= 0 and (max(ids) < sizes[0] if len(sizes) == 1 else all(map(lt, ids, cycle(sizes))))


def _alone(name: str) -> Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray]]:
    return lambda inputs: (inputs[name],)


def _beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return columns [A] or [A, w] side by side; those of one row are joined as bytes, in half the time."""
    try:
        if len(parts[0]) == 1 and len(kinds := set(map(_KIND, parts))) == 1 and set(map(len, parts)) == {1}:
            return np.frombuffer(b"".join(parts), kinds.pop()).reshape(1, -1)  # type: ignore[arg-type]
    except (AttributeError, TypeError, ValueError):  # some are lists, numbers or texts, or not contiguous
        pass
    return np.concatenate(parts, 1) if np.ndim(parts[0]) > 1 else np.array(parts).T


def fit_length(history: np.ndarray, length: int) -> np.ndarray:
    """Return the latest `length` real steps of int64 [A, L] histories, right-padded with 0; 0 leaves them as they are."""
    if length <= 0 or history.shape[1] == length:
        return history
    real = (history != 0).sum(1)
    index = np.maximum(real - length, 0)[:, None] + np.arange(length)
    taken = np.take_along_axis(history, np.minimum(index, max(history.shape[1] - 1, 0)), 1) if history.shape[1] else np.zeros_like(index)
    return np.where(index < real[:, None], taken, 0).astype(history.dtype)


def _zeros(port: Any) -> np.ndarray:
    return np.zeros([size if isinstance(size, int) else 1 for size in port.shape], np.int64 if "int" in port.type else np.float32)


def _session(data: bytes, name: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, undocumented classes
        raise BundleError(f"onnxruntime cannot load the model: {str(error)[:300]}", where=name) from error
