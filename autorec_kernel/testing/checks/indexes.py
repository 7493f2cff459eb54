"""Laws of indexes: plain arrays that repeat, candidates that are rows, effort that pays, and no trust in stored arrays (no torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.bundle import read_array, write_array
from autorec_kernel.testing.fresh import in_fresh_process
from autorec_kernel.testing.snapshots import digest
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_build_gives_plain_arrays",
    "check_build_repeats",
    "check_candidates_are_rows",
    "check_damaged_arrays_are_refused",
    "check_effort_pays",
    "check_index_repeats_in_another_process",
    "recorded_index",
]

_COUNT = 10


def check_build_gives_plain_arrays(component: Any, config: Any, kernel: Any = None) -> None:
    """`build` returns arrays of numbers that survive storage, and leaves the vectors alone."""
    vectors, _ = _table()
    before = vectors.copy()
    found = component(config).build(vectors, np.random.default_rng(0))
    demand(isinstance(found, Mapping) and len(found) > 0, f"build returned a {type(found).__name__}, expected a mapping of arrays")
    demand(np.array_equal(vectors, before), "build changed the vectors it was handed")
    for name, array in found.items():
        plain = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        demand(plain, f"array {name!r} is a {getattr(array, 'dtype', type(array).__name__)}, expected numbers")


def check_build_repeats(component: Any, config: Any, kernel: Any = None) -> None:
    """Equal vectors and generators give equal arrays, under other global seeds and clocks, and no global generator is used."""
    with globals_kept("build"):
        first = component(config).build(_table()[0], np.random.default_rng(3))
    with another_world(4):
        second = component(config).build(_table()[0], np.random.default_rng(3))
    demand(digest(dict(first)) == digest(dict(second)), "two builds with equal vectors and generators differ")


def check_candidates_are_rows(component: Any, config: Any, kernel: Any = None) -> None:
    """Candidates are int64 [A, M], M >= count, rows of the table or -1, each row once; the queries stay as they were."""
    vectors, queries = _table()
    index = _opened(component, config)
    demand(isinstance(index.efforts, int) and index.efforts >= 1, f"efforts is {index.efforts!r}, expected a whole number of at least 1")
    for effort in (0, index.efforts - 1):
        for count in (1, _COUNT, 200):
            for asked in (queries[:1], queries, 0 * queries[:2]):
                before = asked.copy()
                found = index.candidates(asked, count, effort)
                demand(np.array_equal(asked, before), "candidates changed the queries")
                demand(isinstance(found, np.ndarray) and found.dtype == np.int64, "candidates are not int64")
                demand(found.ndim == 2 and len(found) == len(asked) and found.shape[1] >= count, f"candidates have the shape {found.shape}")
                demand(bool(((found >= -1) & (found < len(vectors))).all()), "candidates lie outside the table")
                twice = [row for row in found if len(np.unique(row[row >= 0])) < (row >= 0).sum()]
                demand(not twice, "a row is proposed twice for one query")


def check_effort_pays(component: Any, config: Any, kernel: Any = None) -> None:
    """The strongest effort misses no more of the ten best rows than the weakest, and less than one in ten."""
    index = _opened(component, config)
    weakest, strongest = (_recall(index, effort) for effort in (0, index.efforts - 1))
    demand(strongest >= weakest, f"recall@10 falls from {weakest:.3f} to {strongest:.3f} with more effort")
    demand(strongest > 0.9, f"recall@10 is {strongest:.3f} with the strongest effort, on 3,000 rows in 40 groups")


def check_index_repeats_in_another_process(component: Any, config: Any, kernel: Any = None) -> None:
    """A fresh process builds the same arrays and answers the same."""
    found = in_fresh_process("autorec_kernel.testing.checks.indexes:recorded_index", component, config, 1)
    demand(found == recorded_index(component, config), "another process builds another index, or answers differently")


def check_damaged_arrays_are_refused(component: Any, config: Any, kernel: Any = None) -> None:
    """Stored arrays that were changed raise `BundleError`, or give an index whose candidates are still rows of the table."""
    built = component(config).build(_table()[0], np.random.default_rng(0))
    for name, told, array in _damaged(built):
        try:
            index = component(config).open({**built, name: array})
            found = index.candidates(_table()[1], _COUNT, index.efforts - 1)
        except BundleError:
            continue
        except Exception as error:
            violated(f"array {name!r} {told} raises {type(error).__name__} ({error}), expected BundleError")
        demand(told == "of changed numbers", f"array {name!r} {told} is accepted")
        demand(bool(((found >= -1) & (found < len(_table()[0]))).all()), f"array {name!r} {told} leads to rows outside the table")


def recorded_index(component: Any, config: Any) -> str:
    """Return a digest of what is built and answered."""
    built = component(config).build(_table()[0], np.random.default_rng(5))
    index = component(config).open(_stored(built))
    return digest([dict(built), *(index.candidates(_table()[1], _COUNT, effort) for effort in range(index.efforts))])


def _damaged(built: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    for name, array in built.items():
        yield name, "of another type", array.astype(np.int16 if array.dtype.kind == "f" else np.float64)
        yield name, "without its end", array.reshape(-1)[:-1]
        yield name, "without anything", array[:0]
        yield name, "as one number", np.array(1, array.dtype)
        for change in (_least, _most, _turned):
            yield name, "of changed numbers", change(array)


def _least(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).min)


def _most(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.finfo(array.dtype).max if array.dtype.kind == "f" else np.iinfo(array.dtype).max)


def _turned(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.reshape(-1)[::-1].reshape(array.shape))


def _recall(index: Any, effort: int) -> float:
    vectors, queries = _table()
    scores = queries @ vectors.T
    best = np.sort(scores, axis=1)[:, -_COUNT]
    found = index.candidates(queries, _COUNT, effort)
    hits = [min(_COUNT, int((own[rows[rows >= 0]] >= last).sum())) for own, rows, last in zip(scores, found, best, strict=True)]
    return float(np.mean(hits)) / _COUNT


def _opened(component: Any, config: Any) -> Any:
    return component(config).open(_stored(component(config).build(_table()[0], np.random.default_rng(0))))


def _stored(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays as a bundle hands them back: read-only."""
    return {name: read_array(write_array(array), name) for name, array in arrays.items()}


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [3000, 12] vectors in 40 groups of unequal length, and float32 [50, 12] queries near them."""
    rng = np.random.default_rng(17)
    middles = rng.normal(size=(40, 12)) * rng.lognormal(0, 0.5, (40, 1))
    points = [middles[rng.integers(0, 40, count)] + 0.3 * rng.normal(size=(count, 12)) for count in (3000, 50)]
    return points[0].astype(np.float32), points[1].astype(np.float32)
