"""Exact rewrites on graphs of the size that MovieLens 1M needs: bytes, nodes, arithmetic, difference of answers, latency.

Weights are as they are drawn: how fast a graph is and whether two graphs agree does not hang on training. Latencies are medians of the
calling thread's CPU time, one thread, variants in turns in a new order each round: the machine may be busy, ratios are of one run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.export import export_onnx, graph_spec
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import build_network
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import Graph
from autorec_rewrite.check import gap, work
from autorec_rewrite.net import net_of

SEED, USERS, ITEMS, WARM = 0, 6041, 3417, 5
CANDIDATES = 1000
TARGET = Target("benchmark", max_bytes=100_000_000)
REWRITES = ("rewrite/fold", "rewrite/last-position", "rewrite/first-layer")
STORED = "rewrite/first-layer, tables"  # products of wide embeddings stored


@dataclass(frozen=True)
class Case:
    """A blueprint with options, and how many steps its histories have."""

    blueprint: str
    options: Mapping[str, Any] = field(default_factory=dict)
    length: int = 0
    ranker: bool = False


_DEEP = {"embedding_dim": 32, "hidden_units": (512, 256, 128)}
CASES = {
    "sasrec-200": Case("zoo/sasrec", {"hidden_size": 64, "num_layers": 2, "max_len": 200}, 200),
    "sasrec-50": Case("zoo/sasrec", {"hidden_size": 64, "num_layers": 2, "max_len": 50}, 50),
    "bert4rec-50": Case("zoo/bert4rec", {"hidden_size": 64, "num_layers": 2, "max_len": 50}, 50),
    "gru4rec-50": Case("zoo/gru4rec", {}, 50),
    "dcnv2": Case("zoo/dcnv2", _DEEP, ranker=True),
    "dcnv2-64": Case("zoo/dcnv2", {**_DEEP, "embedding_dim": 64}, ranker=True),
    "deepfm": Case("zoo/deepfm", _DEEP, ranker=True),
    "din": Case("zoo/din", {}, 20, ranker=True),
}


def schema(*, ranker: bool) -> FeatureSchema:
    """Return the features of MovieLens 1M: ids, what is known of users and films, counts and means, the history."""
    history = Feature("history", "history", "user", vocabulary="item", size=ITEMS)
    if not ranker:
        return FeatureSchema((history,), "user_id", "item_id", USERS, ITEMS, {"rating": "logit"}, events=10**6, ordered=True)
    ids = {"user_id": ("user", USERS), "gender": ("user", 3), "age": ("user", 8), "occupation": ("user", 22), "hour": ("row", 25)}
    numbers = {"year": "item", "user.count": "user", "user.mean": "user", "item.count": "item", "item.mean": "item", "since": "row"}
    features = [Feature(name, "id", side, vocabulary=name.removesuffix("_id"), size=size) for name, (side, size) in ids.items()]  # type: ignore[arg-type]
    features.append(Feature("item_id", "id", "item", vocabulary="item", size=ITEMS))
    features.append(Feature("genres", "bag", "item", vocabulary="genres", size=19))
    features += [Feature(name, "numeric", side) for name, side in numbers.items()]  # type: ignore[arg-type]
    tasks, limits = {"rating": "logit"}, {"rating": (0.0, 1.0, 0.5)}
    return FeatureSchema((*features, history), "user_id", "item_id", USERS, ITEMS, tasks, limits, events=10**6, ordered=True)


def exported(case: Case, kernel: Kernel) -> CompressedModel:
    """Return the blueprint's network with drawn weights, and its graph."""
    features = schema(ranker=case.ranker)
    graph = kernel.create("blueprint", case.blueprint, **case.options).architecture(features)
    network = build_network(graph, features, kernel, {}, SEED).eval()
    sample = drawn(features, network.inputs, 4, case.length or 3)
    return CompressedModel(TrainedModel(graph, network, features), export_onnx(network, sample))


def drawn(features: FeatureSchema, names: Any, rows: int, length: int) -> dict[str, np.ndarray]:
    """Return random inputs with full histories."""
    rng, found = np.random.default_rng(SEED), {}
    for name in names:
        feature = features[name]
        if feature.kind == "numeric":
            found[name] = rng.normal(size=(rows, feature.width)).astype(np.float32)
        else:
            shape = {"id": (rows,), "bag": (rows, 3), "history": (rows, max(2, length))}[feature.kind]
            found[name] = rng.integers(1, feature.size, shape)
    return found


def variants(kernel: Kernel, start: CompressedModel) -> Iterator[tuple[str, CompressedModel]]:
    """Yield the graph as exported, each rewrite alone, and those that apply one behind the other."""
    context = CompressionContext(TARGET, None, {}, lambda model, share: model, np.random.default_rng(SEED))  # type: ignore[arg-type]
    yield "exported", start
    last = start
    for name in REWRITES:
        try:
            yield name, kernel.create("compressor", name).compress(start, context)
        except NotApplicable as error:
            print(f"# {name}: {error.message}", flush=True)
            continue
    try:
        yield STORED, kernel.create("compressor", REWRITES[-1], tables=True).compress(start, context)
    except NotApplicable as error:
        print(f"# {STORED}: {error.message}", flush=True)
    for name in reversed(REWRITES):
        try:
            last = kernel.create("compressor", name).compress(last, context)
        except NotApplicable:
            continue
    yield "all", last


def rows_of(label: str, case: Case, kernel: Kernel, rounds: int) -> list[dict[str, Any]]:
    """Return one row a variant."""
    start = exported(case, kernel)
    models = dict(variants(kernel, start))
    spec = graph_spec(start.model.module)
    graphs = {name: Graph(model.graph or b"", spec, name=name) for name, model in models.items()}
    nets = {name: net_of(model) for name, model in models.items()}
    table = []
    calls = {"1": (1, False), "64": (64, False), **({f"{CANDIDATES}-of-one-user": (CANDIDATES, True)} if case.ranker else {})}
    found: dict[str, dict[str, Any]] = {
        name: {"model": label, "rewrite": name, "bytes": len(model.graph or b""), "nodes": len(nets[name].nodes)}
        for name, model in models.items()
    }
    for call, (rows, alone) in calls.items():
        inputs = drawn(start.model.features, start.model.module.inputs, rows, case.length)
        given = {name: told(inputs, graph, start, alone=alone) for name, graph in graphs.items()}
        before = graphs["exported"].run(given["exported"])
        times = timed(graphs, given, rounds if rows < CANDIDATES else max(20, rounds // 4))
        arithmetic = work(nets["exported"], given["exported"])
        for name, row in found.items():
            row[f"gap_{call}"] = gap(before, graphs[name].run(given[name]))
            row[f"work_{call}"] = round(work(nets[name], given[name]) / arithmetic, 3)
            row[f"p50_us_{call}"] = times[name]
            row[f"ratio_{call}"] = round(times[name] / times["exported"], 3)
    table += found.values()
    return table


def told(inputs: Mapping[str, np.ndarray], graph: Graph, model: CompressedModel, *, alone: bool) -> dict[str, np.ndarray]:
    """Return inputs as serving hands them to a graph: what one user's candidates share is repeated, or told once where the graph allows."""
    if not alone:
        return dict(inputs)
    users = {feature.name for feature in model.model.features.features if feature.depends == "user"}
    rows = len(next(iter(inputs.values())))
    one = {name: value[:1] if name in users else value for name, value in inputs.items()}
    return {name: np.repeat(value, rows, 0) if name in users and name not in graph.once else value for name, value in one.items()}


def timed(graphs: Mapping[str, Graph], given: Mapping[str, Mapping[str, np.ndarray]], rounds: int) -> dict[str, float]:
    """Return name → median CPU microseconds of a call."""
    taken: dict[str, list[int]] = {name: [] for name in graphs}
    rng = np.random.default_rng(SEED)
    for number in range(WARM + rounds):
        for name in rng.permutation(list(graphs)):
            started = time.thread_time_ns()
            graphs[name].run(given[name])
            if number >= WARM:
                taken[name].append(time.thread_time_ns() - started)
    return {name: round(float(np.median(values)) / 1e3, 1) for name, values in taken.items()}


def main() -> None:
    """Print one JSON line a variant, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--rounds", type=int, default=200, help="timed calls of each variant")
    parser.add_argument("--out", type=Path, help="JSON lines are written here as well")
    stated = parser.parse_args()
    torch.set_num_threads(1)
    kernel, lines = Kernel.discover(), []
    for name in stated.models:
        for row in rows_of(name, CASES[name], kernel, stated.rounds):
            lines.append(json.dumps(row))
            print(lines[-1], flush=True)
    if stated.out is not None:
        stated.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
