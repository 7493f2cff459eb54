"""A search among all retrievers against each single baseline that gets the same minutes of the same cores: test NDCG@10, paired by user.

A contender is a whole run (features, search, refit on all rows before the test part, bundle) in which one blueprint is left, so that its
options and training are tuned by the same loop; `search` is the run with everything installed. Lists are those that the bundles answer.

    python -m benchmarks.search_recommend run ml-1m/ratings.csv.gz RUNS --protocol leave-one-out --seconds 600
    python -m benchmarks.search_recommend judge ml-1m/ratings.csv.gz RUNS --protocol leave-one-out --out RESULTS.json

Data with an order are judged by leave-one-out (a session counts as a user), others as they are split or at random.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation import bootstrap_interval, paired_comparison
from autorec_kernel.features import EvaluationSet, build_features
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
RESAMPLES, LENGTH = 2_000, 10


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Users of the test part, the items that each is to find, and whether users choose items again."""

    users: tuple[str, ...]
    items: tuple[frozenset[str], ...]
    again: bool


def gains(folder: Path, wanted: Wanted) -> np.ndarray:
    """Return NDCG@10 of each user in the list that the bundle of a run answers."""
    recommender, discounts = Recommender(open_bundle(folder / "bundle")), 1.0 / np.log2(np.arange(LENGTH) + 2)
    found = np.zeros(len(wanted.users))
    for start in range(0, len(wanted.users), 1000):
        answers = recommender.recommend(wanted.users[start : start + 1000], k=LENGTH, exclude_seen=not wanted.again)
        for place, answer in enumerate(answers, start):
            hits = np.array([item in wanted.items[place] for item in answer.items])
            found[place] = discounts[: len(hits)][hits].sum() / discounts[: len(wanted.items[place])].sum()
    return found


def against(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return the ratio of two means with its 95 % interval over resampled users, and the paired difference."""
    rows = rng.integers(0, len(first), (RESAMPLES, len(first)))
    low, high = np.quantile(first[rows].mean(1) / second[rows].mean(1), (0.025, 0.975))
    ratio = {"ratio": float(first.mean() / second.mean()), "low": float(low), "high": float(high)}
    return {**ratio, "difference": paired_comparison(first, second, rng).to_json()}


def table_of(path: Path) -> pd.DataFrame:
    """Return the events; the sessions of a log that knows no users stand for them."""
    table = pd.read_csv(path)
    if "session_id" in table:
        return table.rename(columns={"session_id": "user_id"})[["user_id", "item_id", "position"]]
    return table[[name for name in ("user_id", "item_id", "position", "split") if name in table]]


def test_items(table: pd.DataFrame, recipe: Recipe, count: int) -> Wanted:
    """Return a seeded sample of the users of the test part; it is opened here, after all contenders have finished."""
    dataset, kernel = open_dataset(table, protocol=recipe.protocol, task="recommend"), Kernel.discover()
    dataset.test.fix_plan("all contenders have finished")
    features = build_features(dataset.final(), kernel, task="recommend")
    features.open_test(dataset.test.open("final figures"))
    asked: EvaluationSet = features.evaluation("test").sample(count, np.random.default_rng(0))
    offsets, rows = asked.positives
    names = np.array([str(name) for name in features.state().items.ids_of(rows)], dtype=object)
    names[rows == 0] = [f"outside the catalogue {place}" for place in range(int((rows == 0).sum()))]
    lists = [frozenset(names[low:high]) for low, high in pairwise(offsets)]
    return Wanted(tuple(map(str, asked.ids)), tuple(lists), features.repeating)


def judged(table: pd.DataFrame, folder: Path, recipe: Recipe, count: int) -> dict[str, Any]:
    """Compare the search with every single contender that has finished."""
    wanted, rng = test_items(table, recipe, count), np.random.default_rng(0)
    found = {path.name: gains(path, wanted) for path in sorted(folder.iterdir()) if (path / "spent.json").exists()}
    models = {name: {**json.loads((folder / name / "spent.json").read_text()), **_told(folder / name, found[name])} for name in found}
    pairs = {name: against(found[SEARCH], values, rng) for name, values in found.items() if name != SEARCH}
    best = max(pairs, key=lambda name: float(found[name].mean()), default=None)
    return {
        "users": len(wanted.users),
        "protocol": recipe.protocol,
        "machine": facts_of_machine(),
        "models": models,
        "search_over": pairs,
        "best_single": best,
    }


def _told(folder: Path, values: np.ndarray) -> dict[str, Any]:
    """Return what a run served, and its test figure with its interval."""
    best = json.loads((folder / "result.json").read_text())["best"]
    shown = {key: best[key] for key in ("blueprint", "genotype", "valid")}
    return {"served": shown, "test": bootstrap_interval(values, np.random.default_rng(0)).to_json()}


def main() -> None:
    """Run the contenders that have not been run, or judge those that have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["run", "judge"])
    parser.add_argument("table", type=Path, help="events: user_id or session_id, item_id, position or split where there is one")
    parser.add_argument("folder", type=Path, help="one folder a contender")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--models", nargs="+", default=[SEARCH, *SINGLE], choices=[SEARCH, *SINGLE])
    parser.add_argument("--protocol", choices=["leave-one-out", "given", "random"], help="default: by the data")
    parser.add_argument("--users", type=int, default=20_000, help="of the test part that are judged at most")
    parser.add_argument("--recipe", type=json.loads, default={}, help="further keys of the recipe, of all contenders")
    parser.add_argument("--out", type=Path)
    stated = parser.parse_args()
    table = table_of(stated.table)
    recipe = Recipe(task="recommend", protocol=stated.protocol, budget=stated.seconds, **stated.recipe)
    if stated.step == "run":
        for name in stated.models:
            if not (stated.folder / name / "spent.json").exists():
                print(json.dumps(contend(name, table, stated.folder / name, recipe)), flush=True)
        return
    found = judged(table, stated.folder, recipe, stated.users)
    print(json.dumps({name: {key: pair[key] for key in ("ratio", "low", "high")} for name, pair in found["search_over"].items()}, indent=1))
    print(json.dumps({name: model["test"] for name, model in found["models"].items()}, indent=1))
    if stated.out:
        stated.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
