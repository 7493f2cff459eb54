"""Tuned models compressed for a target, against the same model in torch (eager, float32) and in onnxruntime (float32).

`teacher` tunes one blueprint alone (its default and ten trials of TPE) and makes a whole run of it, compressed by what trains nothing;
`compress` plans its compression for a target with every compressor, or with those that train nothing, without a search; `small` tunes
the blueprint anew among models so small that what trains nothing makes them as small as what `compress` found; `table` gathers what the
certificates say: bytes, latency at one row and at the target's batch, loss with its paired interval on the test rows, verdict; `time`
takes the latencies again, of what was served and of the same network with fresh weights, and opens no test row; `judge` compares what
`compress` and `small` serve on the test rows, in pairs. Every ratio is of figures taken in turns in one process.

    python -m benchmarks.deployment teacher dcnv2 DATA RUNS
    python -m benchmarks.deployment compress dcnv2 DATA RUNS --minutes 10 --target edge
    python -m benchmarks.deployment compress sasrec DATA RUNS --untrained --max-drop 0.002
    python -m benchmarks.deployment small dcnv2 DATA RUNS
    python -m benchmarks.deployment table dcnv2 autorec sasrec DATA RUNS
    python -m benchmarks.deployment time dcnv2 autorec sasrec DATA RUNS
    python -m benchmarks.deployment judge dcnv2 autorec sasrec DATA RUNS
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autorec_kernel.deploy.plan import exported, serving_sample
from autorec_kernel.deploy.quality import Quality, gain
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Entities, build_network, solve_blocks
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.search.genes import decode
from autorec_kernel.serving import Recommender
from autorec_planner.alone import compress
from autorec_planner.certificate import Eager
from autorec_planner.finished import read_finished
from autorec_planner.latency import measure_latency
from autorec_planner.workshop import graph_of
from benchmarks.feature_runs import Recorder

_TURNS = 5  # measurements of `time`
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


UNTRAINED = ("baselines", "distill", "prune")  # without the plugins that train; a baseline would be served where it is as good
CASES = {
    "dcnv2": Case("zoo/dcnv2", {"task": "click", "positive_threshold": 4, "rungs": (0.1, 1.0)}),
    "deepfm": Case("zoo/deepfm", {"task": "click", "positive_threshold": 4, "rungs": (0.1, 1.0)}),
    "autorec": Case("zoo/autorec-item", {"task": "rate", "protocol": "random"}, sides=False),
    "sasrec": Case(
        "zoo/sasrec",
        {
            "task": "recommend",
            "protocol": "leave-one-out",
            "fixed": {"zoo/sasrec.max_len": 200, "zoo/sasrec.hidden_size": 64, "zoo/sasrec.num_layers": 2, "zoo/sasrec.loss": "softmax"},
            "rungs": (0.15, 1.0),
            "evaluator_options": {"epochs": 18, "patience": 5, "batch_size": 256, "schedule": "cosine", "warmup": 0.05},
            "defaults": {"retriever.training.learning_rate": 0.002},
        },
        sides=False,
    ),
}


def tuned(given: argparse.Namespace, name: str, folder: Path, **more: Any) -> dict[str, Any]:
    """Tune a blueprint alone and serve it, compressed by what trains nothing."""
    case, began = CASES[name], time.process_time()
    recipe = Recipe(
        blueprints=(case.blueprint,),
        trials=1 + given.trials,
        strategy="bayes/tpe",
        workers=given.workers,
        device="cpu",
        seed=given.seed,
        target=given.target,
        **{**case.told, **more},
    )
    data = given.data / Path(case.table).parent
    sides = {side: path for side in ("users", "items") if case.sides and (path := data / f"{side}.csv.gz").exists()}
    kernel = Kernel.discover(blocked=UNTRAINED)
    found = stored(folder, lambda: run(given.data / case.table, recipe, kernel, folder, resume=given.resume, **sides))
    best = {key: found["best"][key] for key in ("valid", "test")}
    return {"model": name, **best, "trials": found["trials"], "cpu_s": round(time.process_time() - began, 1), **row(folder)}


def small(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Tune the blueprint among models of so many parameters that they take the bytes of what `compress` made, once they are quantised."""
    plain, best = (certificate(given.runs / name / part)["bytes"] for part in (".", f"compressed/{given.target}"))
    most = int(best["after"] * plain["before"] / (4 * plain["after"]))
    return {"max_params": most, **tuned(given, name, given.runs / f"{name}-small", max_params=float(most))}


def stored(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a run returns; what it measured of each test row or user, before and after compression, is kept in its folder."""
    with Recorder() as recorder:
        found = make()
    parts = {which: one.quality.parts for which, one in zip(("before", "after"), recorder.found, strict=False)}
    first = recorder.compressed.quality
    labels = {} if first.labels is None else {"labels": first.labels}
    np.savez(folder / "test-parts.npz", **parts, **labels, metric=np.array([first.metric]), higher=np.array([first.higher]))
    return found


def judged(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Compare what `compress` serves with the small model that was trained directly; positive = `compress` is better."""
    folders = {"compressed": given.runs / name / "compressed" / given.target, "small": given.runs / f"{name}-small"}
    read = {which: np.load(folder / "test-parts.npz") for which, folder in folders.items()}
    quality = {
        which: Quality(str(one["metric"][0]), 0.0, one["after"], one.get("labels"), bool(one["higher"][0])) for which, one in read.items()
    }
    pair = gain(quality["compressed"], quality["small"], np.random.default_rng(0))
    told = {
        which: {"bytes": certificate(folder)["bytes"]["after"], "test": certificate(folder)["after"]} for which, folder in folders.items()
    }
    return {"model": name, **told, "difference": None if pair is None else pair.to_json()}


def timed(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Time what `compress` serves, the uncompressed graph and torch in turns, some times over; ratios of medians, least and most."""
    found, to = read_finished(given.runs / name), given.runs / name / "compressed" / place_of(given)
    kernel, features = Kernel.discover(), FeatureSet.load(found.folder / "features")
    trial = next(one for one in found.trials if one.number == found.served)
    candidate = decode(trial.genotype, features.schema, kernel)
    arrays = solve_blocks(candidate.architecture, features, kernel, seed=np.random.SeedSequence(0))
    network = build_network(candidate.architecture, candidate.features, kernel, arrays, 0).attach(Entities(features)).eval()
    sample = serving_sample(network, features)
    plain = exported(TrainedModel(candidate.architecture, network, candidate.features, {}, {}), sample)
    graphs = {"torch": Eager(network), "onnxruntime": graph_of(plain, 1), "served": Recommender.load(to / "bundle").graph}
    told: dict[str, Any] = {"model": name, "plan": place_of(given), "bytes": certificate(to)["bytes"], "load": round(os.getloadavg()[0], 1)}
    for rows in (1, 16):
        turns = [measure_latency(graphs, sample, batch=rows, rounds=300, seconds=5.0) for _ in range(_TURNS)]
        for peer in ("torch", "onnxruntime"):
            ratios = sorted(one["served"]["p50_ms"] / one[peer]["p50_ms"] for one in turns)
            told[f"{rows} rows, of {peer}"] = [round(ratios[place], 4) for place in (_TURNS // 2, 0, -1)]
        told[f"{rows} rows, ms"] = {which: round(float(np.median([one[which]["p50_ms"] for one in turns])), 4) for which in graphs}
    return told


def place_of(given: argparse.Namespace) -> str:
    """Return the name of the folder that `compress` writes."""
    return f"{given.target}{'-untrained' * given.untrained}"


def certificate(folder: Path) -> dict[str, Any]:
    """Return the certificate of a run's bundle."""
    found: dict[str, Any] = json.loads((folder / "bundle" / "certificate.json").read_bytes())
    return found


def row(folder: Path) -> dict[str, Any]:
    """Return what a certificate says, ratios against eager torch and against onnxruntime in float32."""
    told = certificate(folder)
    plan = json.loads((folder / "plan.json").read_bytes())
    found: dict[str, Any] = {"target": told["target"]["name"], "steps": [step["component"] for step in plan["steps"] if step["taken"]]}
    notes = json.loads((folder / "result.json").read_bytes())["notes"]
    found["left out"] = [note for note in notes if "left out of the refitted model" in note]
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
    parser.add_argument("part", choices=("teacher", "compress", "small", "table", "time", "judge"))
    parser.add_argument("models", nargs="+", choices=CASES)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("runs", type=Path, help="where run folders are kept")
    parser.add_argument("--trials", type=int, default=10, help="of the blueprint, besides its default")
    parser.add_argument("--minutes", type=float, default=10.0, help="of a compression")
    parser.add_argument("--target", default="edge")
    parser.add_argument("--max-drop", type=float, help="of a compression, in place of the target's")
    parser.add_argument("--untrained", action="store_true", help="compress without the plugins that train")
    parser.add_argument("--max-latency-ms", type=float, help="of a compression, in place of the target's")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted teacher or small model")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.runs.mkdir(parents=True, exist_ok=True)
    for name in given.models:
        if given.part == "teacher":
            print(json.dumps(tuned(given, name, given.runs / name)), flush=True)
        elif given.part == "small":
            print(json.dumps(small(given, name)), flush=True)
        elif given.part == "time":
            print(json.dumps(timed(given, name)), flush=True)
        elif given.part == "judge":
            print(json.dumps(judged(given, name)), flush=True)
        elif given.part == "compress":
            to = given.runs / name / "compressed" / place_of(given)
            limits = {key: value for key in ("max_drop", "max_latency_ms") if (value := getattr(given, key)) is not None}
            kernel, told = (
                Kernel.discover(blocked=UNTRAINED if given.untrained else ("baselines",)),
                {"seconds": 60 * given.minutes, "target": given.target, "limits": limits},
            )
            stored(to, partial(compress, given.runs / name, kernel, to, **told))
            print(json.dumps({"model": name, **row(to)}), flush=True)
        else:
            for place in sorted(given.runs.glob(f"{name}*/**/bundle/certificate.json")):
                print(json.dumps({"model": place.relative_to(given.runs).parts[0], **row(place.parents[1])}), flush=True)


if __name__ == "__main__":
    main()
