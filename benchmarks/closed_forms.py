"""Test NDCG@10 of the closed forms: options tuned on validation rows only, one refit, full ranking, seen items masked, CPU seconds."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import build_network, evaluate_ranking, solve_blocks

USERS = 20_000  # validation users that options are compared on
DECAYS, PENALTIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95), (10.0, 20.0, 50.0, 100.0, 200.0, 400.0)
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {  # one option after the other, each at the best value of those before
    "popularity": {},
    "recent-popularity": {"half_life": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)},
    "item-knn": {"decay": (*DECAYS, 1.0)},
    "ease": {"regularisation": PENALTIES},
    "recency-ease": {"decay": DECAYS, "regularisation": PENALTIES},
    "directed": {"decay": DECAYS, "regularisation": PENALTIES, "backward": (0.0, 0.1, 0.2, 0.4, 0.7)},
    "slim": {"decay": (0.7, 0.8, 0.9, 1.0)},
    "ials": {"decay": (0.7, 0.8, 0.9, 1.0), "confidence": (2.0, 5.0, 10.0)},
}
FILES = {
    "ml-1m": ("ratings.csv.gz", ("user_id", "item_id", "position")),
    "ml-100k": ("ratings.csv.gz", ("user_id", "item_id", "timestamp")),
    "ml-latest-small": ("ratings.csv.gz", ("user_id", "item_id", "timestamp")),
    "amazon-beauty": ("interactions.csv.gz", ("user_id", "item_id", "position")),
    "diginetica-sessions": ("sessions.csv.gz", ("session_id", "split", "position", "item_id")),
}


def fitted(kernel: Kernel, features: FeatureSet, name: str, options: Mapping[str, float], cache: Path | None = None) -> Any:
    """Return the solved network of a blueprint."""
    graph = kernel.create("blueprint", f"baselines/{name}", **options).architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0), cache=cache)
    return build_network(graph, features.schema, kernel, arrays).eval()


def tuned(kernel: Kernel, features: FeatureSet, name: str) -> tuple[dict[str, float], float]:
    """Return the options that are best on the validation rows, and their NDCG@10 there."""
    evaluation = features.evaluation("valid").sample(USERS, np.random.default_rng(0))

    def judged(options: Mapping[str, float]) -> float:
        return evaluate_ranking(fitted(kernel, features, name, options), features, evaluation, ("ndcg@10",)).mean()["ndcg@10"]

    best: dict[str, float] = {}
    value = judged(best)
    for option, choices in GRIDS[name].items():
        found = {choice: judged({**best, option: choice}) for choice in choices}
        choice = max(found, key=found.__getitem__)
        if found[choice] > value:
            best, value = {**best, option: choice}, found[choice]
    return best, value


def main() -> None:
    """Print one JSON line a data set and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with one folder a data set")
    parser.add_argument("--sets", nargs="+", default=["ml-1m", "ml-100k", "amazon-beauty", "diginetica-sessions"], choices=FILES)
    parser.add_argument("--models", nargs="+", default=["popularity", "recent-popularity", "item-knn", "ease", "recency-ease", "directed"])
    parser.add_argument("--defaults", action="store_true", help="tune nothing")
    parser.add_argument("--history", type=int, default=200, help="newest events that a model reads of a user")
    stated = parser.parse_args()
    torch.set_num_threads(1)
    kernel = Kernel.discover()
    for source in stated.sets:
        file, columns = FILES[source]
        table = pd.read_csv(stated.data / source / file, usecols=list(columns)).dropna()
        dataset = open_dataset(table, protocol=None if "split" in columns else "leave-one-out")
        features = build_features(dataset, kernel, history_length=stated.history)
        plan = {name: ({}, float("nan")) if stated.defaults else tuned(kernel, features, name) for name in stated.models}
        dataset.test.fix_plan(json.dumps(plan))
        final = build_features(dataset.final(), kernel, history_length=stated.history)
        final.open_test(dataset.test.open("benchmark of the closed forms"))
        for name, (options, value) in plan.items():
            started = time.process_time()
            network = fitted(kernel, final, name, options)
            solved = time.process_time()
            result = evaluate_ranking(network, final, final.evaluation("test"), ("ndcg@10", "recall@10"))
            spent = {"fit_cpu_s": round(solved - started, 2), "evaluate_cpu_s": round(time.process_time() - solved, 2)}
            scores = {metric: round(found, 4) for metric, found in result.mean().items()}
            error = float(result.values["ndcg@10"].std() / np.sqrt(len(result.values["ndcg@10"])))
            told = {"data": source, "model": name, "options": options, "valid_ndcg@10": round(value, 4), **scores}
            print(json.dumps({**told, "standard_error": round(error, 4), **spent}), flush=True)


if __name__ == "__main__":
    main()
