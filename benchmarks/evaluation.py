"""Time of the exact full ranking, as a ratio to numpy's `argpartition` (which breaks ties arbitrarily) in the same run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from autorec_kernel.evaluation import RankingEvaluator, top_k


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the best wall-clock time of a few repeats."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main(users: int = 512, items: int = 20_000, k: int = 100) -> None:
    """Print one JSON line per kind of scores."""
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((users, items)).astype(np.float32)
    kinds = {"dense": dense, "rounded": np.round(dense, 1), "sparse": np.where(rng.random(dense.shape) < 0.99, 0, dense).astype(np.float32)}
    positives = np.arange(users + 1), rng.integers(1, items, users)
    for name, scores in kinds.items():
        exact = seconds(lambda scores=scores: top_k(scores, k))
        loose = seconds(lambda scores=scores: np.argpartition(scores, items - k, axis=1))
        metrics = seconds(lambda scores=scores: RankingEvaluator(["ndcg@10", "recall@100"], items).add(np.arange(users), scores, positives))
        told = {"scores": name, "top_k_us_per_user": exact / users * 1e6, "ratio_to_argpartition": exact / loose}
        print(json.dumps(told | {"metrics_us_per_user": metrics / users * 1e6}))


if __name__ == "__main__":
    main()
