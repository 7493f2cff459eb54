"""Kendall's tau of the cheap evaluators with full training on MovieLens-100K clicks, and what a candidate costs under each.

`truth` trains random free rankers in full; `judge` has one evaluator judge the same ones; `compare` prints tau with its interval, and CPU
seconds a candidate. That further searches with one supernet train nothing in full is a test.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.genes import decode
from autorec_kernel.space import Genotype, SearchSpace
from autorec_kernel.stages.prepare import open_table, ops_of
from autorec_kernel.stages.search import space_of
from autorec_supernet.agreement import measured

CELL, FULL = "cells/free-ranker", Rung(0, 1.0)
_SHARED, _APART = 2_000_000_000, 1000  # trial numbers; candidates are judged and trained under different ones, so that no noise is shared


def place(data: Path, evaluator: str, folder: Path) -> tuple[EvaluationContext, SearchSpace]:
    """Return the context and the space of free rankers on click rows: temporal split, ratings of 4 and more are clicks."""
    kernel = Kernel.discover(blocked=("workers",))
    told: dict[str, Any] = {"task": "click", "positive_threshold": 4.0, "search_space": "full", "blueprints": (CELL,), "features": "raw"}
    recipe = Recipe(evaluator=evaluator, **told)
    source = data / "ml-100k"
    dataset = open_table(source / "ratings.csv.gz", recipe, kernel, source / "users.csv.gz", source / "items.csv.gz")
    features: FeatureSet = build_features(dataset, ops_of(kernel, recipe), seed=0, history_length=50, task="click")
    features.save(folder / "features")
    features = FeatureSet.load(folder / "features")
    space = space_of(kernel, recipe, features.schema)[1].fix({"ranker": CELL})
    context = EvaluationContext(kernel, features, "click", "auc", 0, _SHARED, folder, space=space)
    return context, space


def architectures(context: EvaluationContext, space: SearchSpace, count: int, seconds: float, seed: int = 7) -> list[Genotype]:
    """Return random points of the cell that are predicted to train eight epochs within `seconds`, with default training options."""
    rng, found = np.random.default_rng(seed), list[Genotype]()
    while len(found) < count:
        cell = {name: value for name, value in space.sample(rng).items() if name.startswith((f"{CELL}.", "pipeline", "ranker"))}
        genotype = space.canonical({name: value for name, value in cell.items() if not name.startswith("ranker.training")})
        candidate = decode(genotype, context.features.schema, context.kernel)
        cost = estimate_cost(candidate.architecture, candidate.features, context.kernel, DeviceProfile(), batch_size=1024, epochs=8)
        if cost.train_seconds <= seconds:
            found.append(genotype)
    return found


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its CPU seconds."""
    began = time.process_time()
    return call(), time.process_time() - began


def truth(given: argparse.Namespace) -> None:
    """Train the candidates in full, twice with different seeds, and write their figures as they come."""
    with tempfile.TemporaryDirectory() as folder:
        context, space = place(given.data, "training/full", Path(folder))
        full = context.kernel.create("evaluator", "training/full")
        rows: list[dict[str, Any]] = []
        for number, genotype in enumerate(architectures(context, space, given.count, given.seconds)):
            row: dict[str, Any] = {"genotype": dict(genotype)}
            for seed in range(given.seeds):
                found, used = timed(lambda seed=seed, g=genotype, n=number: full.evaluate(g, FULL, replace(context, trial=n, seed=seed)))  # type: ignore[misc]
                told = {"auc": found.metrics.get("auc"), "cpu_s": round(used, 2), "epochs": found.details.get("epochs")}
                row |= {f"seed_{seed}": told, "architecture": found.details["architecture"], "parameters": found.cost.parameters}
            rows.append(row)
            given.out.write_text(json.dumps({"seconds": given.seconds, "rows": rows}, indent=1) + "\n")
            print(number, row["seed_0"], row["architecture"][:100], flush=True)


def judge(given: argparse.Namespace) -> None:
    """Have an evaluator judge the same candidates, and write its figures as they come."""
    with tempfile.TemporaryDirectory() as folder:
        context, space = place(given.data, given.evaluator, Path(folder))
        evaluator = context.kernel.create("evaluator", given.evaluator, **json.loads(given.options))
        made, preparing = timed(lambda: evaluator.make(space, context))  # without the calibration of `prepare`
        context = replace(context, artefacts=made)
        told: dict[str, Any] = {"evaluator": given.evaluator, "options": json.loads(given.options), "preparing_cpu_s": round(preparing, 1)}
        told |= {"cheap": [], "cpu_s": []}
        for number, genotype in enumerate(architectures(context, space, given.count, given.seconds)):
            found, used = timed(lambda g=genotype, n=number: evaluator.figure(g, replace(context, trial=_APART + n)))  # type: ignore[misc]
            told["cheap"].append(found)
            told["cpu_s"].append(round(used, 3))
            given.out.write_text(json.dumps(told, indent=1) + "\n")


def compare(given: argparse.Namespace) -> None:
    """Print tau of each evaluator with its 95 % interval, and the costs; candidates that both sides have judged count."""
    rows = json.loads(given.truth.read_text())["rows"]
    full = [row["seed_0"]["auc"] for row in rows]
    whole = float(np.mean([row["seed_0"]["cpu_s"] for row in rows]))
    print(f"full training: {len(full)} candidates, AUC {min(full):.4f} to {max(full):.4f}, {whole:.1f} CPU s a candidate")
    print(
        "| evaluator | candidates | tau | 95 % interval | CPU s preparing | CPU s a candidate | of full training |\n"
        "|---|---|---|---|---|---|---|"
    )
    for file in given.figures:
        told = json.loads(file.read_text())
        count = min(len(full), len(told["cheap"]))
        found = measured(told["cheap"][:count], full[:count], level=0.95, useful=0.0, seed=np.random.SeedSequence(0))
        each = float(np.mean(told["cpu_s"]))
        interval = "undefined" if found.tau is None else f"{found.tau:.2f} | {found.low:.2f} to {found.high:.2f}"
        name = f"{told['evaluator']} {told['options'] or ''}".strip()
        print(f"| {name} | {count} | {interval} | {told['preparing_cpu_s']} | {each:.2f} | {each / whole:.3f} |")


def main(words: Sequence[str] | None = None) -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("truth")
    one.add_argument("data", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seeds", type=int, default=1)
    one.set_defaults(run=truth)
    two = parts.add_parser("judge")
    two.add_argument("data", type=Path)
    two.add_argument("evaluator")
    two.add_argument("--options", default="{}")
    two.add_argument("--out", type=Path, required=True)
    for part in (one, two):
        part.add_argument("--count", type=int, default=30)
        part.add_argument("--seconds", type=float, default=4.0)
    two.set_defaults(run=judge)
    three = parts.add_parser("compare")
    three.add_argument("truth", type=Path)
    three.add_argument("figures", type=Path, nargs="+")
    three.set_defaults(run=compare)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    given.run(given)


if __name__ == "__main__":
    main()
