"""What the feature engine must find by itself: planted XORs (a linear model on its output), and informative columns among noise.

XOR: two or three binary columns among 30 noise columns of 2, 5 and 50 values, names and places shuffled. Bars: test AUC above .95, above
.85 with a tenth of the labels flipped (.90 is the most there is), at most 60 seconds. Selection: 8 informative columns among 92, half
numbers, half categories. Bar: all 8 kept and at least 90 % of the noise gone. A column counts as kept when a feature is named after it.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.selection import apply_selection, select_features
from autorec_kernel.kernel import Kernel
from benchmarks.feature_learners import logistic
from benchmarks.feature_matrices import engine_features, engine_matrices, raw
from benchmarks.feature_sets import LABEL, Given

ROWS, NOISE = 50_000, (2, 5, 50)


def crossed(seed: int, order: int, flipped: float, rows: int = ROWS) -> pd.DataFrame:
    """Return 30 noise columns of texts, `order` columns whose XOR is the label, and the label."""
    rng = np.random.default_rng([seed, order])
    hidden = rng.integers(0, 2, (rows, order))
    noise = [rng.integers(0, size, rows) for size in NOISE for _ in range(10)]
    columns = [*noise, *hidden.T]
    label = (hidden.sum(axis=1) % 2) ^ (rng.random(rows) < flipped)
    named = dict(zip(_names(len(columns), rng), columns, strict=True))
    shuffled = {name: np.char.add("v", named[name].astype(str)) for name in rng.permutation(sorted(named))}
    return pd.DataFrame({**shuffled, LABEL: label.astype(np.int64)})


def informative(seed: int, rows: int = ROWS) -> tuple[pd.DataFrame, set[str]]:
    """Return 100 columns and the label, and the names of the 8 that the label depends on."""
    rng = np.random.default_rng([seed, 8])
    numbers = rng.normal(size=(50, rows))
    categories = rng.integers(0, 5, (50, rows))
    levels = rng.normal(size=(4, 5)) * 0.6
    signal = (0.5 * numbers[:4] * np.array([1, -1, 1, -1])[:, None]).sum(axis=0)
    signal += sum(level[codes] for level, codes in zip(levels, categories[:4], strict=True))
    names = _names(100, rng)
    columns = dict(zip(names, [*numbers, *(np.char.add("v", codes.astype(str)) for codes in categories)], strict=True))
    label = (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.int64)
    return pd.DataFrame({**{name: columns[name] for name in sorted(names)}, LABEL: label}), {*names[:4], *names[50:54]}


def split(name: str, frame: pd.DataFrame) -> Given:
    """Return the frame as the benchmarks read it: split at random by the kernel."""
    columns = [column for column in frame if column != LABEL]
    dataset = open_dataset(frame, task="click", protocol="random", roles={LABEL: "label"})
    parts = [frame.iloc[dataset.row_ids[part]].assign(part=part) for part in ("train", "valid", "test")]
    texts = tuple(c for c in columns if not pd.api.types.is_numeric_dtype(frame[c]))
    return Given(name, dataset, pd.concat(parts, ignore_index=True), texts, tuple(c for c in columns if c not in texts))


def find_cross(seed: int, order: int, flipped: float) -> dict[str, Any]:
    """Return the test AUC of the linear model on the raw columns and on the engine's output, and the engine's seconds."""
    given = split(f"xor{order}", crossed(seed, order, flipped))
    features, seconds = _timed(given)
    test = given.frame["label"].to_numpy()[given.rows("test")]
    found = {}
    for kind, matrices in (("raw", raw(given)), ("engine", engine_matrices(given, features))):
        scores, _ = logistic(matrices, "test")
        found[kind] = round(float(auc(test, scores["test"]) or 0), 4)
    bar = 0.85 if flipped else 0.95
    met = found["engine"] > bar and seconds <= 60
    return {"task": f"xor of {order}", "flipped": flipped, "seed": seed, **found, "seconds": seconds, "bar": bar, "met": met}


def select(seed: int) -> dict[str, Any]:
    """Return how many informative and noise columns have a feature in the engine's output."""
    frame, wanted = informative(seed)
    features, seconds = _timed(split("selection", frame), select=True)
    kept = set(re.findall(r"q\d{3}", " ".join(feature.name for feature in features.schema.features)))
    noise = len(kept - wanted)
    found = {"kept": len(kept & wanted), "noise_kept": noise, "noise": 92, "seconds": seconds}
    return {"task": "selection", "seed": seed, **found, "met": len(kept & wanted) == 8 and noise <= 9}


def _timed(given: Given, *, select: bool = False) -> tuple[FeatureSet, float]:
    start = time.perf_counter()
    features = engine_features(given)
    if select:
        apply_selection(features, select_features(features, Kernel.discover()))
    return features, round(time.perf_counter() - start, 2)


def _names(count: int, rng: np.random.Generator) -> list[str]:
    return [f"q{number:03d}" for number in rng.choice(1000, count, replace=False)]


def main() -> None:
    """Print one JSON line a task and seed, and how many met the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=("xor2", "xor3", "selection"), default=["xor2", "xor3", "selection"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        crosses = [(int(task[-1]), flipped) for task in given.tasks if task != "selection" for flipped in (0.0, 0.1)]
        for order, flipped in crosses:
            rows.append(find_cross(seed, order, flipped))
            print(json.dumps(rows[-1]), flush=True)
        if "selection" in given.tasks:
            rows.append(select(seed))
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"met": sum(row["met"] for row in rows), "of": len(rows)}))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
