"""Laws of metrics: bounded by what a perfect and a worst answer get, the same in any order, with inputs left alone (numpy)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_metric_heeds_k",
    "check_metric_is_bounded_by_the_oracle",
    "check_metric_is_permutation_invariant",
    "check_metric_is_plain",
]

_CATALOGUE, _CUTS = 40, (1, 3, 5, 10, 20)


def check_metric_is_plain(component: Any, config: Any, kernel: Any = None) -> None:
    """`score` gives finite float64 values, one a user or row, the same when asked again; inputs stay; kind and direction are declared."""
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
    sign = 1.0 if component.higher_is_better else -1.0
    for arrays in _inputs(component.kind):
        given = (arrays, *_extremes(component.kind, arrays))
        found, best, worst = (float(np.mean(_score(component(config), each))) for each in given)
        demand(sign * best > sign * worst, f"the perfect answer scores {best}, the reversed one {worst}")
        demand(sign * found <= sign * best + 1e-9, f"an answer scores {found}, better than the perfect one's {best}")
        demand(sign * found >= sign * worst - 1e-9, f"an answer scores {found}, worse than the reversed one's {worst}")


def check_metric_heeds_k(component: Any, config: Any, kernel: Any = None) -> None:
    """A ranking metric looks at the k best only, for every k: another k, another value. One that reads whole rankings at any k is free."""
    if component.kind != "ranking":
        return
    ranks = np.arange(_CATALOGUE, dtype=np.int64)  # a user a rank
    offsets = _csr(np.ones(_CATALOGUE, np.int64))
    scores = {k: _score(component(config), (offsets, ranks, np.asarray(k), np.asarray(_CATALOGUE))) for k in _CUTS}
    for k, more in pairwise(_CUTS):
        whole = scores[k][-1] != scores[k][-2]  # the deepest ranks still count
        demand(whole or not np.array_equal(scores[k], scores[more]), f"score is the same at k={k} and k={more}: it ignores k")


def _inputs(kind: str) -> Iterator[tuple[Any, ...]]:
    for seed in range(2 * len(_CUTS) if kind == "ranking" else 4):
        rng = np.random.default_rng(seed)
        if kind == "ranking":
            lengths = rng.integers(1, 5, 12)
            ranks = np.concatenate([rng.permutation(_CATALOGUE)[:n] for n in lengths])
            yield _csr(lengths), ranks.astype(np.int64), np.asarray(_CUTS[seed % len(_CUTS)]), np.asarray(_CATALOGUE)
        else:
            labels = _labels()
            yield labels, np.clip(rng.normal(labels, 0.4), 0.05, 0.95).astype(np.float32), np.repeat(np.arange(12), 5)


def _extremes(kind: str, arrays: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the best and the worst answer to the same question."""
    if kind == "ranking":
        offsets, _, k, catalogue = arrays
        best = np.concatenate([np.arange(count) for count in np.diff(offsets)]).astype(np.int64)
        yield offsets, best, k, catalogue
        yield offsets, _CATALOGUE - 1 - best, k, catalogue
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
        found = np.asarray(metric.score(*arrays))
    except Exception as error:
        violated(f"score raised {type(error).__name__}: {error}")
    users = len(arrays[0]) - 1 if metric.kind == "ranking" else len(np.unique(arrays[2]))
    wanted = [(users,)] if metric.kind == "ranking" else [(len(arrays[0]),), (users,)]
    one = "one value a user" if metric.kind == "ranking" else "one value a row, or one a user"
    demand(found.shape in wanted, f"score returned shape {found.shape}; expected {' or '.join(map(str, wanted))}: {one}")
    return found
