"""Test figures of whole runs with `features = "raw"` and with the full engine: same rows, seed, time budget and number of workers.

The two runs of a pair go one after the other. Differences (engine minus raw, of the compressed models) come with paired intervals over
users: `compare_auc` for `click`, NDCG@10 of each user for `recommend`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation import Comparison, compare_auc, paired_comparison
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.stages import evaluate
from autorec_kernel.stages.evaluate import Measured

SETS = ("ml-latest-small", "ml-1m")
TASKS = ("click", "recommend")
FEATURES = ("raw", "auto")
THRESHOLD = 4  # stars that count as a click, or as a choice


class Recorder:
    """What a run measured on its test rows, the compressed model's values of each row or user among it."""

    def __init__(self) -> None:
        self._measure = evaluate.measure
        self.found: list[Measured] = []

    def __enter__(self) -> Recorder:
        evaluate.measure = self
        return self

    def __exit__(self, *_: object) -> None:
        evaluate.measure = self._measure

    def __call__(self, *given: Any, **options: Any) -> Measured:
        self.found.append(self._measure(*given, **options))
        return self.found[-1]

    @property
    def compressed(self) -> Measured:
        """Return the second thing that a run measures, after the float model."""
        return self.found[1]


def measure(folder: Path, task: str, features: str, given: argparse.Namespace) -> tuple[dict[str, Any], Measured]:
    """Run once and return what is worth telling, and the figures of the compressed model."""
    recipe = Recipe(
        task=task, features=features, budget=given.budget, seed=given.seed, workers=1, device="cpu", positive_threshold=THRESHOLD
    )
    load, start = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory(dir=given.scratch) as place, Recorder() as recorder:
        found = run(folder / "ratings.csv.gz", recipe, Kernel.discover(), Path(place) / "run", **sides_of(folder))
        plan = json.loads((Path(place) / "run" / "features" / "features.json").read_text())
    told = {
        "features": features,
        "test": found["compressed"]["test"],
        "interval": found["compressed"]["test_interval"],
        "valid": found["best"]["valid"],
        "blueprint": found["best"]["blueprint"],
        "columns": len(plan["schema"]["features"]),
        "left_out": sorted({row["op"] for row in plan["plan"] if not row["taken"] and row["reason"].startswith("needs about")}),
        "trials": found["trials"],
        "stages": {name: round(value, 1) for name, value in found["stages"].items()},
        "wall": round(time.perf_counter() - start, 1),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "baselines": {name: (row["test"] or {}).get(found["metric"]) for name, row in found["baselines"].items()},
        "verdict": found["verdict"],
    }
    return told, recorder.compressed


def sides_of(folder: Path) -> dict[str, Path]:
    """Return the tables of users and items that lie beside the ratings."""
    paths = {name: folder / f"{name}.csv.gz" for name in ("users", "items")}
    return {name: path for name, path in paths.items() if path.exists()}


def compare(folder: Path, task: str, first: Measured, second: Measured) -> Comparison | None:
    """Return first minus second, paired over users."""
    rng = np.random.default_rng(0)
    if task == "recommend":
        return paired_comparison(first.quality.parts, second.quality.parts, rng)
    labels = first.quality.labels
    assert labels is not None
    dataset = open_dataset(folder / "ratings.csv.gz", **sides_of(folder), task=task, positive_threshold=THRESHOLD)
    rows = pd.read_csv(folder / "ratings.csv.gz", usecols=["user_id", "rating"]).iloc[dataset.row_ids["test"]]
    if not np.array_equal(labels, rows["rating"] >= THRESHOLD):
        raise ValueError(f"{folder.name}: the judged rows are not those of the table")
    users = np.unique(rows["user_id"], return_inverse=True)[1]
    return compare_auc(labels, first.quality.parts, second.quality.parts, rng, users=users, resamples=2000)


def main() -> None:
    """Run the pairs, print them, and put the results beside those already in the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with one folder a data set")
    parser.add_argument("--set", dest="sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--task", dest="tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--budget", type=float, default=140.0, help="seconds of each run; the default selector takes part from 134 on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where run folders stand for the time of a run")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    for name in given.sets:
        for task in given.tasks:
            found: dict[str, Any] = {"set": name, "task": task, "budget": given.budget, "seed": given.seed, "commit": commit, "runs": []}
            measured = {}
            for features in FEATURES:
                told, measured[features] = measure(given.data / name, task, features, given)
                found["runs"].append(told)
                print(json.dumps({"set": name, "task": task, **told}), flush=True)
            difference = compare(given.data / name, task, measured["auto"], measured["raw"])
            found["auto - raw"] = difference.to_json() if difference else None
            print(json.dumps({"set": name, "task": task, "auto - raw": found["auto - raw"]}), flush=True)
            if given.out:
                kept = json.loads(given.out.read_text()) if given.out.exists() else []
                given.out.write_text(json.dumps([*kept, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
