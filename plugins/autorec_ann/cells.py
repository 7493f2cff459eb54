"""`Cells`: the inverted file as it is asked: checked arrays in, a faiss index made of them row by row, candidates out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np

from autorec_kernel.errors import BundleError

__all__ = ["Cells"]

_FIRST = 8  # cells that the weakest effort reads for ten rows
_LARGEST = 0.5  # share of the cells that the strongest effort reads
_SPARE = 10  # rows proposed beyond those asked for: what eight bits confuse
_WIDEST = 4096


class Cells:
    """Rows of a table in cells.

    A cell is read for the best score that one of its n rows is likely to have: q·c + |q| s √(2 ln n), the mean of the largest of n
    normal numbers around q·c, where s is the root mean square of the rows' offsets a dimension. Ordering cells by q·c alone misses wide
    cells whose middle is short.

    faiss parses no bytes of others: arrays whose types, shapes and ranges were checked here are copied into an index that is made here.

    Raises:
        BundleError: The arrays do not describe an inverted file.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        _check(arrays)
        self._centroids, self._starts = arrays["centroids"], arrays["starts"]
        sizes = np.diff(self._starts)
        reach = arrays["spread"] * np.sqrt(2 * np.log(np.maximum(sizes, 2)))
        self._reach = np.where(sizes > 0, reach, -np.inf).astype(np.float32)
        self._index = _made(arrays)
        self.rows = len(arrays["rows"])
        most = max(_FIRST, len(sizes) * _LARGEST)
        self.efforts = 1 + int(2 * np.log2(most / _FIRST))

    def candidates(self, queries: np.ndarray, count: int, effort: int) -> np.ndarray:
        """Return int64 [A, M], M >= count: rows that should hold the `count` largest inner products of each query, -1 where none is left.

        Args:
            queries: float32 [A, D].
            count: Rows wanted.
            effort: 0 … efforts - 1; two more read twice as many cells. The cells also grow with the square root of `count`.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        wanted = min(count + _SPARE, self.rows)
        probes = min(len(self._starts) - 1, int(_FIRST * 2 ** (effort / 2) * max(1.0, count / 10) ** 0.5))
        middles = queries @ self._centroids.T
        hopes = middles + np.sqrt((queries**2).sum(1, keepdims=True)) * self._reach
        cells = np.argpartition(hopes, -probes, axis=1)[:, -probes:].astype(np.int64)
        return self._read(queries, cells, np.take_along_axis(middles, cells, 1), wanted)

    def _read(self, queries: np.ndarray, cells: np.ndarray, middles: np.ndarray, wanted: int) -> np.ndarray:
        """Return int64 [A, wanted] rows of the given cells int64 [A, P], which score float32 [A, P] at their middles."""
        faiss.omp_set_num_threads(1)  # of this thread: a request takes one core
        scores = np.empty((len(queries), wanted), np.float32)
        found = np.empty((len(queries), wanted), np.int64)
        middles = np.ascontiguousarray(middles, dtype=np.float32)
        arrays = [faiss.swig_ptr(one) for one in (cells, middles, scores, found)]
        parameters: Any = faiss.SearchParametersIVF
        options = parameters(nprobe=cells.shape[1])  # not set on the index: threads share it
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), wanted, *arrays, False, options)
        return found


def _made(arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the faiss index of checked arrays."""
    count, width = arrays["centroids"].shape
    kind = faiss.ScalarQuantizer.QT_8bit
    coarse = faiss.IndexFlatIP(width)
    coarse.add(np.ascontiguousarray(arrays["centroids"]))
    made: Any = faiss.IndexIVFScalarQuantizer(coarse, width, count, kind, faiss.METRIC_INNER_PRODUCT, True)
    faiss.copy_array_to_vector(np.ascontiguousarray(arrays["ranges"]), made.sq.trained)
    made.is_trained = True
    rows, codes = arrays["rows"].astype(np.int64), np.ascontiguousarray(arrays["codes"])
    for cell, (start, stop) in enumerate(zip(arrays["starts"][:-1].tolist(), arrays["starts"][1:].tolist(), strict=True)):
        if stop > start:
            made.invlists.add_entries(cell, stop - start, faiss.swig_ptr(rows[start:stop]), faiss.swig_ptr(codes[start:stop]))
    made.ntotal = len(rows)
    return made


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that faiss would read out of bounds.

    Raises:
        BundleError: A type, shape or value is not that of an inverted file.
    """
    shape, rows, starts = arrays["centroids"].shape, arrays["rows"], arrays["starts"]
    (cells, width), count = shape if len(shape) == 2 else (0, 0), rows.size
    wanted = {
        "centroids": ("float32", (cells, width)),
        "codes": ("uint8", (count, width)),
        "ranges": ("float32", (2 * width,)),
        "rows": ("int32", (count,)),
        "spread": ("float32", (cells,)),
        "starts": ("int64", (cells + 1,)),
    }
    for name, (kind, expected) in wanted.items():
        found = arrays[name]
        if found.dtype != kind or found.shape != expected:
            raise BundleError(f"the index's {name} are {found.dtype}{list(found.shape)}, expected {kind}{list(expected)}")
        if kind == "float32" and not np.isfinite(found).all():
            raise BundleError(f"the index's {name} are not finite")
    if not (0 < cells <= count and 0 < width <= _WIDEST):
        raise BundleError(f"the index has {cells} cells of {count} rows and {width} dimensions")
    if starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
        raise BundleError("the index's cells do not add up to its rows")
    if not np.array_equal(np.sort(rows), np.arange(count, dtype=np.int32)):
        raise BundleError("the index does not hold every row once")
