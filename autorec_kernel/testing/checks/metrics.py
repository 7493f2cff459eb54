"""Laws of metrics: bounded by what a perfect and a worst answer get, the same in any order, with inputs left alone (numpy)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = ["check_metric_is_bounded_by_the_oracle", "check_metric_is_permutation_invariant", "check_metric_is_plain"]

_CATALOGUE, _K = 40, 10


def check_metric_is_plain(component: Any, config: Any, kernel: Any = None) -> None:
    """`score` returns finite float64 values, the same when asked again, and leaves its inputs alone; kind and direction are declared."""
    demand(component.kind in ("ranking", "rows"), f"kind is {component.kind!r}, expected ranking or rows")
    demand(isinstance(component.higher_is_better, bool), f"higher_is_better is {component.higher_is_better!r}, expected True or False")
    for arrays in _inputs(component.kind):
        before = list(leaves(list(arrays)))
        with globals_kept("score"):
            first = _score(component(config), arrays)
        with another_world(2):
            second = _score(component(config), arrays)
        demand(first.dtype == np.float64 and np.isfinite(first).all(), f"score returned {first.dtype} or values that are not finite")
        demand(np.array_equal(first, second), "score answers differently when asked again")
        demand(first_difference(before, list(leaves(list(arrays)))) is None, "score changed its inputs")


def check_metric_is_permutation_invariant(component: Any, config: Any, kernel: Any = None) -> None:
    """Another order of users, of a user's positives or of rows gives the same mean."""
    rng = np.random.default_rng(3)
    for arrays in _inputs(component.kind):
        expected = float(np.mean(_score(component(config), arrays)))
        found = float(np.mean(_score(component(config), _shuffled(component.kind, arrays, rng))))
        demand(np.isclose(expected, found, rtol=1e-9), f"the mean is {expected} in one order and {found} in another")


def check_metric_is_bounded_by_the_oracle(component: Any, config: Any, kernel: Any = None) -> None:
    """No answer scores better than the perfect one, none worse than the reversed one, and the two differ."""
    best, worst = (float(np.mean(_score(component(config), arrays))) for arrays in _extremes(component.kind))
    sign = 1.0 if component.higher_is_better else -1.0
    demand(sign * best > sign * worst, f"the perfect answer scores {best}, the reversed one {worst}")
    for arrays in _inputs(component.kind):
        found = float(np.mean(_score(component(config), arrays)))
        demand(sign * found <= sign * best + 1e-9, f"an answer scores {found}, better than the perfect one's {best}")
        demand(sign * found >= sign * worst - 1e-9, f"an answer scores {found}, worse than the reversed one's {worst}")


def _inputs(kind: str) -> Iterator[tuple[Any, ...]]:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        if kind == "ranking":
            lengths = rng.integers(1, 5, 12)
            ranks = np.concatenate([rng.permutation(_CATALOGUE)[:n] for n in lengths])
            yield _csr(lengths), ranks.astype(np.int64), np.asarray(_K), np.asarray(_CATALOGUE)
        else:
            labels = _labels()
            yield labels, np.clip(rng.normal(labels, 0.4), 0.05, 0.95).astype(np.float32), np.repeat(np.arange(12), 5)


def _extremes(kind: str) -> Iterator[tuple[Any, ...]]:
    if kind == "ranking":
        lengths = np.full(12, 3)
        for ranks in (np.arange(3), _CATALOGUE - 1 - np.arange(3)):
            yield _csr(lengths), np.tile(ranks, 12).astype(np.int64), np.asarray(_K), np.asarray(_CATALOGUE)
    else:
        labels = _labels()
        users = np.repeat(np.arange(12), 5)
        for value in (labels, 1 - labels):
            yield labels, np.clip(value, 0.001, 0.999).astype(np.float32), users


def _labels() -> np.ndarray:
    return np.tile(np.array([1, 0, 0, 1, 0], np.float32), 12)


def _csr(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _shuffled(kind: str, arrays: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
    if kind == "rows":
        order = rng.permutation(len(arrays[0]))
        return tuple(array[order] for array in arrays)
    offsets, ranks, *rest = arrays
    users = rng.permutation(len(offsets) - 1)
    parts = [rng.permutation(ranks[offsets[user] : offsets[user + 1]]) for user in users]
    return _csr(np.array([len(part) for part in parts])), np.concatenate(parts), *rest


def _score(metric: Any, arrays: tuple[Any, ...]) -> np.ndarray:
    try:
        return np.asarray(metric.score(*arrays))
    except Exception as error:
        violated(f"score raised {type(error).__name__}: {error}")
