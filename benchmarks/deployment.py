"""Tuned models compressed for a target, against the same model in torch (eager, float32) and in onnxruntime (float32).

`teacher` tunes one blueprint alone (its default and ten trials of TPE) and makes a whole run of it; `compress` plans its compression for
the targets, without a search; `table` gathers what the certificates say: bytes, latency at one row and at the target's batch, loss with
its paired interval on the test rows, verdict. Every ratio is of figures taken in turns in one process.

    python -m benchmarks.deployment teacher dcnv2 DATA RUNS
    python -m benchmarks.deployment compress dcnv2 DATA RUNS --minutes 10 --target edge
    python -m benchmarks.deployment table dcnv2 autorec sasrec DATA RUNS
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_planner.alone import compress

BARS = {"latency": 0.10, "bytes": 0.10, "loss": 0.01}


@dataclass(frozen=True, slots=True)
class Case:
    """A blueprint, its data and what is known of its training.

    Args:
        told: Keys of the recipe.
    """

    blueprint: str
    told: dict[str, Any]
    table: str = "ml-1m/ratings.csv.gz"
    sides: bool = True


CASES = {
    "dcnv2": Case("zoo/dcnv2", {"task": "click", "positive_threshold": 4}),
    "deepfm": Case("zoo/deepfm", {"task": "click", "positive_threshold": 4}),
    "autorec": Case("zoo/autorec-item", {"task": "rate", "protocol": "random"}, sides=False),
    "sasrec": Case(
        "zoo/sasrec",
        {
            "task": "recommend",
            "protocol": "leave-one-out",
            "fixed": {"zoo/sasrec.max_len": 200, "zoo/sasrec.dropout_rate": 0.2, "zoo/sasrec.loss": "softmax"},
            "evaluator_options": {"epochs": 24, "patience": 5, "batch_size": 256, "schedule": "cosine", "warmup": 0.05},
            "defaults": {"retriever.training.learning_rate": 0.002},
        },
        sides=False,
    ),
}


def teacher(given: argparse.Namespace, name: str, kernel: Kernel) -> dict[str, Any]:
    """Tune a blueprint alone and serve it; baselines are left out, else one of them is served where it is as good."""
    case = CASES[name]
    recipe = Recipe(
        blueprints=(case.blueprint,),
        trials=1 + given.trials,
        strategy="bayes/tpe",
        rungs=(1.0,),
        workers=given.workers,
        device="cpu",
        seed=given.seed,
        target=given.target,
        **case.told,
    )
    folder = given.data / Path(case.table).parent
    sides = {side: path for side in ("users", "items") if case.sides and (path := folder / f"{side}.csv.gz").exists()}
    found = run(given.data / case.table, recipe, kernel, given.runs / name, **sides)
    return {"model": name, "valid": found["best"]["valid"], "test": found["best"]["test"], "trials": found["trials"]}


def row(folder: Path) -> dict[str, Any]:
    """Return what a certificate says, ratios against eager torch and against onnxruntime in float32."""
    told = json.loads((folder / "certificate.json").read_bytes())
    plan = json.loads((folder / "plan.json").read_bytes())
    found: dict[str, Any] = {"target": told["target"]["name"], "steps": [step["component"] for step in plan["steps"] if step["taken"]]}
    found["bytes"] = round(told["bytes"]["after"] / told["bytes"]["before"], 4)
    for batch in ("one", "batch"):
        times = told["measured"][batch]
        for peer in ("torch", "onnxruntime"):
            found[f"{batch}, of {peer}"] = round(times["served"]["p50_ms"] / times[peer]["p50_ms"], 4)
        found[f"{batch}, ms"] = {which: round(values["p50_ms"], 4) for which, values in times.items()}
    kept = ("metric", "before", "after", "verdict", "gain", "low", "high", "n")
    return {**found, **{key: told[key] for key in kept if key in told}, "load": round(os.getloadavg()[0], 1)}


def main() -> None:
    """Run one part and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("teacher", "compress", "table"))
    parser.add_argument("models", nargs="+", choices=CASES)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("runs", type=Path, help="where run folders are kept")
    parser.add_argument("--trials", type=int, default=10, help="of the blueprint, besides its default")
    parser.add_argument("--minutes", type=float, default=10.0, help="of a compression")
    parser.add_argument("--target", default="edge")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.runs.mkdir(parents=True, exist_ok=True)
    kernel = Kernel.discover(blocked=("baselines",))
    for name in given.models:
        if given.part == "teacher":
            print(json.dumps(teacher(given, name, kernel)), flush=True)
        elif given.part == "compress":
            to = given.runs / name / "compressed" / given.target
            compress(given.runs / name, kernel, to, seconds=60 * given.minutes, target=given.target)
            print(json.dumps({"model": name, **row(to)}), flush=True)
        else:
            for place in sorted(given.runs.glob(f"{name}/**/certificate.json")):
                print(json.dumps({"model": name, **row(place.parent)}), flush=True)


if __name__ == "__main__":
    main()
