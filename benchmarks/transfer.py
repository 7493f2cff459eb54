"""What the weights of a run are worth on related data: epochs to what training from scratch has at best.

Four relations: a log that has gone on (the first 60 % of the events of MovieLens-100K by time, then all of them), its later part alone,
other people with the same catalogue (1,500 users of MovieLens-1M, then 300 others), and another site (MovieLens-1M, then
MovieLens-latest-small, whose movie ids agree and whose users are others). Both starts train for the same number of epochs at the same batch
size; clicks are ratings of 4 and more.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_studies.transfer import Tuning, transfer

SHARE = 0.6  # of the events of a log that has gone on
SAMPLE, NEW = 1500, 300  # users of MovieLens-1M
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


def gone_on(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return the first part of MovieLens-100K, all of it, and the vocabularies that mean something else: none."""
    whole = pd.read_csv(folder / "ml-100k" / "ratings.csv.gz")[COLUMNS].sort_values("timestamp", kind="stable")
    return whole.head(int(SHARE * len(whole))), whole, ()


def later(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return the first part of MovieLens-100K and the rest."""
    first, whole, unrelated = gone_on(folder)
    return first, whole.iloc[len(first) :], unrelated


def others(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return the ratings of some users of MovieLens-1M and those of others."""
    whole = pd.read_csv(folder / "ml-1m" / "ratings.csv.gz")[COLUMNS]
    users = pd.Series(whole["user_id"].unique()).sample(SAMPLE + NEW, random_state=0)
    return whole[whole["user_id"].isin(users[:SAMPLE])], whole[whole["user_id"].isin(users[SAMPLE:])], ()


def other_site(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return the ratings of some users of MovieLens-1M and those of MovieLens-latest-small, whose users are others."""
    old = pd.read_csv(folder / "ml-1m" / "ratings.csv.gz")[COLUMNS]
    users = pd.Series(old["user_id"].unique()).sample(SAMPLE, random_state=0)
    new = pd.read_csv(folder / "ml-latest-small" / "ratings.csv.gz")[COLUMNS]
    return old[old["user_id"].isin(users)], new, ("user",)


PAIRS: Mapping[str, Callable[[Path], tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]]] = {
    "gone-on": gone_on,
    "later": later,
    "other-people": others,
    "other-site": other_site,
}


def measured(pair: str, folder: Path, model: str, rate: float, epochs: int, seed: int) -> dict[str, Any]:
    """Return what both starts reach on the new data, by epoch."""
    old, new, unrelated = PAIRS[pair](folder)
    kernel = Kernel.discover(blocked=("workers", "prune", "quantize"))
    recipe = Recipe(
        task="click",
        positive_threshold=4.0,
        trials=1,
        blueprints=(model,),
        strategy="random",
        features="raw",
        device="cpu",
        seed=seed,
        rungs=(1.0,),
        evaluator_options={"epochs": epochs},
    )
    with tempfile.TemporaryDirectory() as temporary:
        first, second = Path(temporary) / "run", Path(temporary) / "new"
        found = run(old, recipe, kernel, first)
        trial = sum(row["status"] != "skipped" for row in found["baselines"].values())  # the first candidate behind the baselines
        told = transfer(first, kernel, second, new, tuning=Tuning(trial, epochs, rate, unrelated))
    rows = {
        name: {key: told[name][key] for key in ("before", "values", "best_epoch", "valid", "test")} for name in ("transferred", "scratch")
    }
    carried = {name: told["carried"][name] for name in ("vocabularies", "left")}
    return {"pair": pair, "model": model, "rate": rate, "seed": seed, "epochs": epochs, "reached": told["reached"], **carried, **rows}


def main() -> None:
    """Measure every pair, model and seed that is asked for; append one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", nargs="*", default=[*PAIRS], choices=[*PAIRS])
    parser.add_argument("--models", nargs="*", default=["zoo/deepfm"])
    parser.add_argument("--rates", nargs="*", type=float, default=[0.5])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/transfer.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = [(p, m, r, s) for p in options.pairs for m in options.models for s in options.seeds for r in options.rates]
    for pair, model, rate, seed in cells:
        row = measured(pair, options.data, model, rate, options.epochs, seed)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
