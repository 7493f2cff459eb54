"""Write the benchmark data: click rows as the project's own id columns: equal columns, rows and vocabularies for every library."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel

HISTORY = 20
USERS = ("age", "gender", "occupation", "zip_code")
ITEMS = ("release_year", "first_genre")


def tables(source: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return events, users and items; every side column is a text, the year and the first genre are cut out of title and genres."""
    users = pd.read_csv(source / "users.csv.gz", dtype=str)[["user_id", *USERS]]
    items = pd.read_csv(source / "items.csv.gz", dtype=str)
    items["release_year"] = items["title"].str.extract(r"\((\d{4})\)", expand=False).fillna("none")
    items["first_genre"] = items["genres"].str.split("|").str[0].fillna("none")
    users[list(USERS)] = "v" + users[list(USERS)]
    items["release_year"] = "v" + items["release_year"]
    events = pd.read_csv(source / "ratings.csv.gz", dtype={"user_id": str, "item_id": str})
    clock = "position" if "position" in events else "timestamp"
    return events[["user_id", "item_id", "rating", clock]], users, items[["item_id", *ITEMS]]


def feature_set(source: Path, rows: int = 0, seed: int = 2024) -> FeatureSet:
    """Return the features: eight id columns and the history of positives before each row; 80/10/10 at random, click = rating >= 4.

    Args:
        rows: Events to draw without replacement; 0 = all.
    """
    events, users, items = tables(source)
    if rows:
        events = events.sample(rows, random_state=seed).sort_index()
    kinds = {f"users.{name}": "categorical" for name in USERS} | {f"items.{name}": "categorical" for name in ITEMS}
    roles = {"user_id": "user", "item_id": "item", "rating": "label", events.columns[3]: "position" if "position" in events else "time"}
    dataset = open_dataset(
        events, users=users, items=items, task="click", roles=roles, kinds=kinds, protocol="random", positive_threshold=4, seed=seed
    )
    kernel = Kernel.discover()
    ops = {name: kernel.load("feature-op", name) for name in ("features/id", "features/history")}
    features = build_features(dataset, ops, task="click", history_length=HISTORY)
    dataset.test.fix_plan("benchmark")
    features.open_test(dataset.test.open("benchmark"))
    return features


def arrays(features: FeatureSet) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield split → ids int64 [n] a column, `history` int64 [n, 20] right-padded, `label` float32 [n]."""
    names = [feature.name for feature in features.schema.of("id", "history")]
    for split in ("train", "valid", "test"):
        rows = features.rows(split)  # type: ignore[arg-type]
        values = {plain(name): value for name, value in features.row_inputs(names, rows).items()}
        yield split, {**values, "label": features.labels()[rows]}


def plain(name: str) -> str:
    """Return a column name that every library takes."""
    return name.replace(".", "_")


def main() -> None:
    """Write `features/` (for us), `{split}.npz` and `sizes.json` (for the peers)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with ratings, users and items as gzip CSV")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=0, help="events to draw at random; 0 = all")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    features = feature_set(given.source, given.rows)
    features.save(given.out / "features")
    for split, values in arrays(features):
        np.savez(given.out / f"{split}.npz", **values)
        print(split, {name: value.shape for name, value in values.items()})
    sizes = {plain(feature.name): feature.size for feature in features.schema.of("id")}
    (given.out / "sizes.json").write_text(json.dumps({"sizes": sizes, "item": features.schema.item}))
    print(sizes, "positive rate", float(features.labels()[features.rows("train")].mean()))


if __name__ == "__main__":
    main()
