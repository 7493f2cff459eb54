"""Trains every cell of the tabular benchmark by the project's own full training, and writes the table of a data set.

`train` adds one JSON line a training to a file and skips what is there, so it can be stopped at any time; several processes may share the
work, each with a file of its own. `table` gathers the lines into the file that is shipped. `again` retrains a few cells and compares.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.contracts.evaluator import EvaluationContext, Evaluator, Rung
from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import row_metrics
from autorec_kernel.search.genes import assemble_space, chosen_among, offers
from autorec_kernel.space import Genotype, SearchSpace
from autorec_search.tabular import SPACE, TABLES, Table, embedded

ROWS = 40_000  # newest training rows; validation and test parts are whole
OPTIONS = {"epochs": 1, "schedule": "cosine"}
EVALUATOR, BLUEPRINT = "training/full", "cells/free-ranker"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A data set with its features, the search space assembled for it, and the evaluator."""

    kernel: Kernel
    features: FeatureSet
    space: SearchSpace
    evaluator: Evaluator


def prepared(name: str, folder: Path) -> Bench:
    """Return the clicks (rating at least 4) of a set in the parts of its temporal split, the training part cut to its newest rows."""
    kernel, place = Kernel.discover(), folder / name
    users, items = (path if (path := place / f"{side}.csv.gz").exists() else None for side in ("users", "items"))
    opened = partial(open_dataset, users=users, items=items, task="click", positive_threshold=4)
    whole = opened(place / "ratings.csv.gz", protocol="temporal")
    events = pd.read_csv(place / "ratings.csv.gz", dtype={"user_id": str, "item_id": str})
    events = events[["user_id", "item_id", "rating", "timestamp"]]
    parts = {part: events.iloc[whole.row_ids[part]].assign(part=part) for part in ("train", "valid", "test")}
    parts["train"] = parts["train"].sort_values("timestamp", kind="stable").iloc[-ROWS:]
    frame = pd.concat(parts.values(), ignore_index=True)
    dataset = opened(frame, protocol="given", roles={"part": "split"})
    features = build_features(dataset, kernel, task="click", seed=0)
    dataset.test.fix_plan(features.digest)
    features.open_test(dataset.test.open("tabular benchmark"))
    found = chosen_among(kernel, offers(kernel, "click", features.schema, wanted=(BLUEPRINT,)), (BLUEPRINT,))
    space = assemble_space(kernel, found, features.schema, EVALUATOR)
    return Bench(kernel, features, space, kernel.create("evaluator", EVALUATOR, **OPTIONS))


def trained(bench: Bench, cell: Genotype, seed: int) -> dict[str, Any]:
    """Train a cell; the seed stands for the number of the trial, so that all cells share their draws."""
    genotype = bench.space.canonical(embedded(cell))
    with tempfile.TemporaryDirectory() as scratch:
        context = EvaluationContext(bench.kernel, bench.features, "click", "auc", 0, seed, Path(scratch))
        began = time.process_time()
        result = bench.evaluator.evaluate(genotype, Rung(0, 1.0), context)
        seconds = time.process_time() - began
        model = bench.evaluator.restore(genotype, result.artefacts, context)
    assert result.status == "complete" and result.cost is not None and model is not None, result.error
    label = next(iter(bench.features.schema.tasks))
    test = row_metrics(model.module, bench.features, "test", label, ("auc",))[0].values["auc"]
    cost = {"parameters": result.cost.parameters, "latency_ms": result.cost.latency_ms, "seconds": round(seconds, 3)}
    return {"valid": result.metrics["auc"], "test": test, **cost, "graph": result.details["architecture_digest"]}


def lines(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield what has been trained; a last line that was cut off is left out."""
    for path in files:
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            if text.endswith("}"):
                yield json.loads(text)


def train(given: argparse.Namespace) -> None:
    """Train the cells of this process's share that no file has yet."""
    bench, (share, of) = prepared(given.set, given.data), given.share
    done = {(row["cell"], row["seed"]) for row in lines([given.out]) if row["set"] == given.set}
    order = np.random.default_rng(0).permutation(SPACE.size)  # any beginning is a sample of all cells
    cells = list(SPACE.points())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("a", encoding="utf-8") as file:
        for seed in range(given.seeds):
            for place in order[share::of].tolist():
                if (place, seed) not in done:
                    row = {"set": given.set, "cell": place, "seed": seed, **trained(bench, cells[place], seed)}
                    file.write(f"{json.dumps(row)}\n")
                    file.flush()


def gather(given: argparse.Namespace) -> None:
    """Write the table of a set: a row a cell in the order of the space, its genes, then what the seeds gave, then costs."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for row in lines(given.lines):
        if row["set"] == given.set and row["seed"] < given.seeds:
            found.setdefault(row["cell"], {})[row["seed"]] = row
    missing = [(place, seed) for place in range(int(SPACE.size)) for seed in range(given.seeds) if seed not in found.get(place, {})]
    if missing:
        raise SystemExit(f"{len(missing)} trainings are missing, the first is cell {missing[0][0]}, seed {missing[0][1]}")
    measured = [f"{part}_{seed}" for seed in range(given.seeds) for part in ("valid", "test")]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with StringIO(newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*SPACE, *measured, "parameters", "latency_ms", "seconds", "graph"])
        writer.writerows(_row(cell, found[place], given.seeds) for place, cell in enumerate(SPACE.points()))
        given.out.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def _row(cell: Genotype, trainings: dict[int, dict[str, Any]], seeds: int) -> list[Any]:
    first, seconds = trainings[0], min(row["seconds"] for row in trainings.values())
    measured = [f"{trainings[seed][part]:.7f}" for seed in range(seeds) for part in ("valid", "test")]
    return [*(cell.get(name, "") for name in SPACE), *measured, first["parameters"], first["latency_ms"], seconds, first["graph"]]


def again(given: argparse.Namespace) -> None:
    """Retrain some cells, and print how far they are from the table."""
    bench, table, rng = prepared(given.set, given.data), Table.load(given.set), np.random.default_rng(given.draw)
    cells = list(SPACE.points())
    for place in rng.choice(len(cells), given.cells, replace=False).tolist():
        row, seed = table.row(cells[place]), int(rng.integers(len(table.row(cells[place]).valid)))
        now = trained(bench, cells[place], seed)
        apart = {"valid": now["valid"] - row.valid[seed], "test": now["test"] - row.test[seed]}
        same = now["graph"] == row.graph and now["parameters"] == row.parameters
        print(json.dumps({"set": given.set, "cell": place, "seed": seed, "same graph": same, **apart}), flush=True)


def main() -> None:
    """Train, gather or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for verb, run in {"train": train, "table": gather, "again": again}.items():
        one = verbs.add_parser(verb)
        one.set_defaults(run=run)
        one.add_argument("set", choices=TABLES)
        if verb == "table":
            one.add_argument("lines", type=Path, nargs="+", help="what `train` wrote")
        else:
            one.add_argument("data", type=Path, help="folder with one folder a data set")
        if verb != "again":
            one.add_argument("--out", type=Path, required=True)
            one.add_argument("--seeds", type=int, default=2, help="trainings of a cell")
    verbs.choices["train"].add_argument("--share", type=int, nargs=2, default=(0, 1), help="which share of how many")
    verbs.choices["again"].add_argument("--cells", type=int, default=3)
    verbs.choices["again"].add_argument("--draw", type=int, default=0, help="seed of the draw of cells")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.run(given)


if __name__ == "__main__":
    main()
