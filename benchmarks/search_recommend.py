"""A search among all retrievers against each single baseline that gets the same minutes of the same cores: test NDCG@10, paired by user.

A contender is a whole run (features, search, refit on all rows before the test part, bundle) in which one blueprint is left, so that its
options and training are tuned by the same loop; `search` is the run with everything installed. Lists are those that the bundles answer.

    python -m benchmarks.search_recommend run ml-1m/ratings.csv.gz RUNS --seconds 600
    python -m benchmarks.search_recommend judge ml-1m/ratings.csv.gz RUNS --out benchmarks/results/search_recommend_ml1m.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation import bootstrap_interval, paired_comparison
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.registry.rows import ComponentRow
from autorec_kernel.serving import Recommender, open_bundle
from benchmarks.peers.machine import facts_of_machine

SEARCH = "search"
SINGLE = {
    "directed": "baselines/directed",
    "ease": "baselines/ease",
    "recency-ease": "baselines/recency-ease",
    "ials": "baselines/ials",
    "sasrec": "zoo/sasrec",
    "lightgcn": "zoo/lightgcn",
    "multvae": "zoo/multvae",
}
COLUMNS = ["user_id", "item_id", "position"]
RESAMPLES = 2_000


class OneBlueprint(Kernel):
    """All that is installed, but of the blueprints one, which is searched like any other instead of being served as it stands."""

    only: str = ""

    def components(self, kind: str) -> tuple[ComponentRow, ...]:
        """Return the components; of the blueprints one."""
        rows = super().components(kind)
        if kind != "blueprint" or not self.only:
            return rows
        return tuple(replace(row, tags=tuple({*row.tags} - {"baseline", "later"})) for row in rows if row.id == self.only)


def kernel_of(name: str) -> Kernel:
    """Return the kernel of a contender."""
    kernel = OneBlueprint.discover()
    kernel.only = "" if name == SEARCH else SINGLE[name]
    return kernel


def cpu_seconds() -> float:
    """Return what this process and the processes that it has waited for have used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def contend(name: str, table: pd.DataFrame, folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Run one contender and return how it went."""
    wall, cpu, load = time.monotonic(), cpu_seconds(), os.getloadavg()[0]
    result = run(table, recipe, kernel_of(name), folder)
    spent = {"seconds": round(time.monotonic() - wall, 1), "cpu_seconds": round(cpu_seconds() - cpu, 1), "load": round(load, 1)}
    told = {"model": name, **spent, "trials": result["trials"], "stages": result["stages"]}
    (folder / "spent.json").write_text(json.dumps(told))
    return told


def gains(folder: Path, wanted: dict[str, str]) -> np.ndarray:
    """Return NDCG@10 of each user's one test item in the list that the bundle of a run answers."""
    users = list(wanted)
    answers = Recommender(open_bundle(folder / "bundle")).recommend(users, k=10)
    places = [answer.items.index(wanted[user]) if wanted[user] in answer.items else -1 for user, answer in zip(users, answers, strict=True)]
    return np.array([1.0 / np.log2(place + 2) if place >= 0 else 0.0 for place in places])


def against(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return the ratio of two means with its 95 % interval over resampled users, and the paired difference."""
    rows = rng.integers(0, len(first), (RESAMPLES, len(first)))
    low, high = np.quantile(first[rows].mean(1) / second[rows].mean(1), (0.025, 0.975))
    ratio = {"ratio": float(first.mean() / second.mean()), "low": float(low), "high": float(high)}
    return {**ratio, "difference": paired_comparison(first, second, rng).to_json()}


def test_items(table: pd.DataFrame) -> dict[str, str]:
    """Return user → the one item of the test part; it is opened here, after all contenders have finished."""
    dataset, kernel = open_dataset(table, protocol="leave-one-out"), Kernel.discover()
    dataset.test.fix_plan("all contenders have finished")
    features = build_features(dataset.final(), kernel)
    features.open_test(dataset.test.open("final figures"))
    asked = features.evaluation("test")
    items = features.state().items.ids_of(asked.positives[1])
    return {str(user): str(item) for user, item in zip(asked.ids, items, strict=True)}


def judged(table: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Compare the search with every single contender that has finished."""
    wanted, rng = test_items(table), np.random.default_rng(0)
    found = {path.name: gains(path, wanted) for path in sorted(folder.iterdir()) if (path / "spent.json").exists()}
    models = {name: {**json.loads((folder / name / "spent.json").read_text()), **_told(folder / name, found[name])} for name in found}
    pairs = {name: against(found[SEARCH], values, rng) for name, values in found.items() if name != SEARCH}
    best = max(pairs, key=lambda name: float(found[name].mean()), default=None)
    return {"users": len(wanted), "machine": facts_of_machine(), "models": models, "search_over": pairs, "best_single": best}


def _told(folder: Path, values: np.ndarray) -> dict[str, Any]:
    """Return what a run served, and its test figure with its interval."""
    best = json.loads((folder / "result.json").read_text())["best"]
    shown = {key: best[key] for key in ("blueprint", "genotype", "valid")}
    return {"served": shown, "test": bootstrap_interval(values, np.random.default_rng(0)).to_json()}


def main() -> None:
    """Run the contenders that have not been run, or judge those that have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["run", "judge"])
    parser.add_argument("table", type=Path, help="events: user_id, item_id, position")
    parser.add_argument("folder", type=Path, help="one folder a contender")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--models", nargs="+", default=[SEARCH, *SINGLE], choices=[SEARCH, *SINGLE])
    parser.add_argument("--recipe", type=json.loads, default={}, help="further keys of the recipe, of all contenders")
    parser.add_argument("--out", type=Path)
    stated = parser.parse_args()
    table = pd.read_csv(stated.table, usecols=COLUMNS)
    if stated.step == "run":
        recipe = Recipe(task="recommend", protocol="leave-one-out", budget=stated.seconds, **stated.recipe)
        for name in stated.models:
            if not (stated.folder / name / "spent.json").exists():
                print(json.dumps(contend(name, table, stated.folder / name, recipe)), flush=True)
        return
    found = judged(table, stated.folder)
    print(json.dumps({name: {key: pair[key] for key in ("ratio", "low", "high")} for name, pair in found["search_over"].items()}, indent=1))
    print(json.dumps({name: model["test"] for name, model in found["models"].items()}, indent=1))
    if stated.out:
        stated.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
