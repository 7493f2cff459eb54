"""A search of ten minutes among all rankers against the best blueprint of the zoo after ten trials of its own: test AUC, paired by user.

`search` is a whole run with everything installed. `zoo` tunes every ranker of the zoo alone on the same features (its default and ten
trials of Bayesian optimisation), takes the best one by validation, and makes a whole run of it. `judge` compares the models.
`fidelity` puts the full trainings of `zoo` into orders of its own, and counts what ladders of rungs would have trained of each and
which candidate they would have found.

    python -m benchmarks.search_click search DATA/ml-100k RUNS --seconds 600
    python -m benchmarks.search_click zoo DATA/ml-100k RUNS
    python -m benchmarks.search_click judge DATA/ml-100k RUNS
    python -m benchmarks.search_click fidelity DATA/ml-100k RUNS
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from autorec_kernel.evaluation import compare_auc
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import read_journal
from autorec_studies.alone import search_alone
from benchmarks.feature_runs import THRESHOLD, Recorder, compare, sides_of

BARS = {"architectures": 200, "digests": 120, "lower end": -0.002}


def recipe(given: argparse.Namespace, **told: Any) -> Recipe:
    """Return the recipe that all runs have in common."""
    return Recipe(task="click", seed=given.seed, workers=given.workers, device="cpu", positive_threshold=THRESHOLD, **told)


def whole(given: argparse.Namespace, kernel: Kernel, name: str, **told: Any) -> dict[str, Any]:
    """Make a whole run; keep what it says and the test scores of its compressed model."""
    began, load = time.monotonic(), os.getloadavg()[0]
    with Recorder() as recorder:
        found = run(given.data / "ratings.csv.gz", recipe(given, **told), kernel, given.runs / name, **sides_of(given.data))
    parts = {which: found.quality.parts for which, found in zip(("float", "parts"), recorder.found, strict=False)}
    np.savez(given.runs / f"{name}.npz", **parts, labels=recorder.compressed.quality.labels)
    row = {"best": found["best"], "test": found["compressed"]["test"], "trials": found["trials"], "notes": found["notes"]}
    row |= {"seconds": round(time.monotonic() - began, 1), "load": [round(load, 1), round(os.getloadavg()[0], 1)]}
    return {**row, "stages": found["stages"], **counted(given.runs / name)}


def counted(folder: Path) -> dict[str, Any]:
    """Count what a search evaluated: complete first results, distinct graphs among them, epochs trained, reasons."""
    graphs, epochs, statuses = set(), 0, Counter[str]()
    for record in read_journal(folder / "journal.jsonl"):
        if record["kind"] != "result":
            continue
        found = record["evaluation"]
        if "same_as" not in found["details"]:
            epochs += int(found["details"].get("epochs", 0))
        if record["rung"] == 0:
            statuses[found["status"]] += 1
            if found["status"] == "complete":
                graphs.add(found["details"]["architecture_digest"])
    return {"architectures": statuses["complete"], "digests": len(graphs), "epochs": epochs, "statuses": dict(statuses)}


def tuned(given: argparse.Namespace, kernel: Kernel) -> dict[str, Any]:
    """Tune every ranker of the zoo on the features of the search's run; return blueprint → best validation AUC, and the best one."""
    found: dict[str, float] = {}
    for row in kernel.components("blueprint"):
        if given.blueprints and row.id not in given.blueprints:
            continue
        if not row.id.startswith("zoo/") or "click" not in kernel.load("blueprint", row.id).tasks:
            continue
        told = recipe(given, blueprints=(row.id,), trials=1 + given.trials, strategy="bayes/tpe", rungs=(1.0,))
        try:
            result = search_alone(given.runs / "search", told, kernel, given.runs / "alone" / row.id.partition("/")[2], resume=True)
        except Exception as error:  # a blueprint that does not fit this data
            print(json.dumps({"blueprint": row.id, "left out": str(error)}), flush=True)
            continue
        found[row.id] = result["best"]["valid"]["auc"]
        print(json.dumps({"blueprint": row.id, "valid": round(found[row.id], 4)}), flush=True)
    return {"valid": found, "best": max(found, key=lambda name: found[name])}


def judged(given: argparse.Namespace) -> dict[str, Any]:
    """Compare what the search serves with the tuned blueprint, as it was trained and as it is served; by users and by rows."""
    stored = {name: dict(np.load(given.runs / f"{name}.npz")) for name in ("search", "zoo")}
    quality = {
        "served search": (stored["search"]["parts"], stored["search"]["labels"]),
        "zoo, float": (stored["zoo"]["float"], stored["zoo"]["labels"]),
        "zoo, served": (stored["zoo"]["parts"], stored["zoo"]["labels"]),
    }
    first = quality.pop("served search")
    found: dict[str, Any] = {"served search": auc(first[1], first[0])}
    for name, (parts, labels) in quality.items():
        pair = [SimpleNamespace(quality=SimpleNamespace(parts=one, labels=labels)) for one in (first[0], parts)]
        by_rows = compare_auc(labels, first[0], parts, np.random.default_rng(0))
        found[name] = {"auc": auc(labels, parts), "by users": compare(given.data, "click", *pair).to_json(), "by rows": by_rows.to_json()}
    return found


LADDERS = {"batches of 8, best quarter": (8, 4, 3), "batches of 16, best eighth": (16, 8, 3), "the same, patience 1": (16, 8, 1)}


def curves(folder: Path) -> list[list[float]]:
    """Return the validation AUC after each epoch of every candidate that learns by epochs and was trained to its own end."""
    found = []
    for path in sorted(folder.glob("*/journal.jsonl")):
        for record in read_journal(path):
            if record["kind"] == "result" and record["evaluation"]["status"] == "complete":
                details = record["evaluation"]["details"]
                if details["values"] and "same_as" not in details and "stopped_by" not in details:
                    found.append([float(value) for value in details["values"]])
    return found


def climbed(order: list[list[float]], batch: int, eta: int, patience: int) -> tuple[int, float, int]:
    """Return the epochs that a ladder of one epoch and the rest trains, the best value it finds, and whose place in the order that is.

    What climbs is trained anew.
    """
    epochs, best = 0, (0.0, -1)
    for start in range(0, len(order), batch):
        now = range(start, min(start + batch, len(order)))
        epochs += len(now)
        for place in sorted(now, key=lambda one: -order[one][0])[: -(-len(now) // eta)]:
            curve = order[place]
            reached = next((n for n in range(1, len(curve)) if n - int(np.argmax(curve[: n + 1])) >= patience), len(curve) - 1) + 1
            epochs += reached
            best = max(best, (max(curve[:reached]), place))
    return epochs, *best


def fidelity(given: argparse.Namespace, orders: int = 200, size: int = 96) -> dict[str, Any]:
    """Compare ladders with full trainings of the same candidates, over random orders of as many as a search of minutes tries."""
    known, rng = curves(given.runs / "alone"), np.random.default_rng(0)
    drawn = [[known[place] for place in rng.permutation(len(known))[:size]] for _ in range(orders)]
    full = [(sum(map(len, order)), *max((max(curve), place) for place, curve in enumerate(order))) for order in drawn]
    rows: dict[str, Any] = {"candidates": len(known), "epochs of a full search": round(float(np.mean([row[0] for row in full])), 1)}
    for name, ladder in LADDERS.items():
        found = [climbed(order, *ladder) for order in drawn]
        saved = [1 - one[0] / row[0] for one, row in zip(found, full, strict=True)]
        lost = [row[1] - one[1] for one, row in zip(found, full, strict=True)]
        same = float(np.mean([row[2] == one[2] for one, row in zip(found, full, strict=True)]))
        rows[name] = {"epochs saved": round(float(np.mean(saved)), 3), "least": round(min(saved), 3), "same winner": same}
        rows[name] |= {"mean loss of AUC": round(float(np.mean(lost)), 6), "largest": round(max(lost), 6)}
    return rows


def main() -> None:
    """Run one part and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("search", "zoo", "judge", "fidelity"))
    parser.add_argument("data", type=Path, help="folder of one data set: ratings.csv.gz, users.csv.gz, items.csv.gz")
    parser.add_argument("runs", type=Path, help="where run folders are kept")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the search's whole run")
    parser.add_argument("--trials", type=int, default=10, help="of each blueprint of the zoo, besides its default")
    parser.add_argument("--blueprints", nargs="+", default=(), help="of the zoo; default: all rankers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.runs.mkdir(parents=True, exist_ok=True)
    if given.part == "search":
        print(json.dumps(whole(given, Kernel.discover(), "search", budget=given.seconds, search_space="full"), indent=1))
    elif given.part == "zoo":
        alone = Kernel.discover(blocked=("baselines",))  # else a baseline is served where the zoo is not better with confidence
        best = tuned(given, alone)
        told = whole(given, alone, "zoo", blueprints=(best["best"],), trials=1 + given.trials, strategy="bayes/tpe", rungs=(1.0,))
        print(json.dumps({**best, **told}, indent=1))
    elif given.part == "fidelity":
        print(json.dumps(fidelity(given), indent=1))
    else:
        print(json.dumps({**judged(given), "bars": BARS, **counted(given.runs / "search")}, indent=1))


if __name__ == "__main__":
    main()
