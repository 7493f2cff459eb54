"""Write the retrieval data: MovieLens-1M leave-one-out by position, as the project's rows, and factors drawn at random."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel

WIDTH = 64


def feature_set(source: Path) -> FeatureSet:
    """Return the features: users, items and histories; the last item of each user is the test, the one before the validation."""
    events = pd.read_csv(source / "ratings.csv.gz", dtype={"user_id": str, "item_id": str})[["user_id", "item_id", "position"]]
    roles = {"user_id": "user", "item_id": "item", "position": "position"}
    dataset = open_dataset(events, task="recommend", roles=roles, protocol="leave-one-out")
    kernel = Kernel.discover()
    features = build_features(dataset, {name: kernel.load("feature-op", name) for name in ("features/id", "features/history")})
    dataset.test.fix_plan("benchmark")
    features.open_test(dataset.test.open("benchmark"))
    return features


def main() -> None:
    """Write `features/`, the parts as (user, item, place) int64 and the factors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with ratings as gzip CSV")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    features = feature_set(given.source)
    features.save(given.out / "features")
    for split in ("train", "valid", "test"):
        rows = features.rows(split)  # type: ignore[arg-type]
        np.save(given.out / f"{split}.npy", np.stack([features.user_rows[rows], features.item_rows[rows], rows], 1))
    rng = np.random.default_rng(0)
    sizes = {"users": features.schema.users, "items": features.schema.items}
    for name, size in sizes.items():
        np.save(given.out / f"{name}.npy", rng.standard_normal((size, WIDTH)).astype(np.float32))
    (given.out / "sizes.json").write_text(json.dumps(sizes))
    print(sizes, {split: len(features.rows(split)) for split in ("train", "valid", "test")})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
