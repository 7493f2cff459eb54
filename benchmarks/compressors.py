"""Every compressor alone on three small trained models of the packaged MovieLens ratings: bytes, answers, validation metric, latency.

Latencies are medians of the calling thread's CPU time of sessions that take turns in a new order each round: the machine may be busy.
Nothing is chosen by a figure here, and the test view stays shut.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

import autorec_kernel.data
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx, graph_spec, tile_rows
from autorec_kernel.deploy.graph_network import GraphNetwork
from autorec_kernel.deploy.plan import FineTuner, serving_sample
from autorec_kernel.deploy.quality import gain, validation_quality
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Entities, build_network, solve_blocks
from autorec_kernel.models.fit import FitSettings, fit
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import Graph

SEED, USERS = 0, 610
TARGET = Target("benchmark", max_bytes=1)  # so that compressors which spare too large graphs alone propose something
_SPLITS: Mapping[str, Any] = {"recommend": {"protocol": "leave-one-out"}, "click": {"positive_threshold": 4.0, "protocol": "random"}}
_RATINGS = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"


@dataclass(frozen=True)
class Case:
    """A blueprint, how it is trained, and what it is judged by."""

    blueprint: str
    task: Literal["recommend", "click"]
    metric: str
    epochs: int
    options: Mapping[str, Any]
    fewest: int = 0  # ratings below which an item is left out
    batch: int = 1024


CASES = {
    "dcnv2": Case("zoo/dcnv2", "click", "auc", 3, {"embedding_dim": 32, "hidden_units": (512, 256, 128)}),
    "sasrec": Case("zoo/sasrec", "recommend", "ndcg@10", 20, {"hidden_size": 64}, 5, 32),
    "ease": Case("baselines/ease", "recommend", "ndcg@10", 0, {}, 10),
}


def trained(case: Case, kernel: Kernel, features: FeatureSet) -> TrainedModel:
    """Return the model in eval mode: epochs of gradient steps, or the closed form."""
    graph = kernel.create("blueprint", case.blueprint, **case.options).architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(SEED))
    network = build_network(graph, features.schema, kernel, arrays, SEED).attach(Entities(features))
    if case.epochs:
        fit(
            network,
            features,
            FitSettings(epochs=case.epochs, batch_size=case.batch, patience=0),
            seed=np.random.SeedSequence(SEED),
            validate=None,
        )
    return TrainedModel(graph, network.eval(), features.schema)


def variants(kernel: Kernel, start: CompressedModel, context: CompressionContext) -> Iterator[tuple[str, str, CompressedModel | str]]:
    """Yield (compressor, options, the compressed model or why there is none) of everything that a compressor proposes."""
    for row in kernel.components("compressor"):
        if not row.usable:
            yield row.id, "", row.reason
            continue
        instance = kernel.create("compressor", row.id)
        configs = list(instance.propose(start, context.target)) or [instance.config]
        for config in configs:
            told = ", ".join(f"{name}={value}" for name, value in config.model_dump(exclude_defaults=len(configs) == 1).items())
            try:
                found = kernel.create("compressor", row.id, **config.model_dump(mode="json")).compress(start, context)
                graph = found.graph if instance.form == "graph" else export_onnx(found.model.module, context.sample)
                yield row.id, told, CompressedModel(found.model, graph)
            except NotApplicable as error:
                yield row.id, told, error.message


def rows_of(case: Case, kernel: Kernel, rounds: int) -> list[dict[str, Any]]:
    """Return one row a variant, the float model first."""
    ratings = pd.read_csv(_RATINGS)
    often = ratings.groupby("item_id")["rating"].transform("size") >= case.fewest
    dataset = open_dataset(ratings[often], task=case.task, **_SPLITS[case.task])
    features = build_features(dataset, kernel, task=case.task, history_length=50)
    model = trained(case, kernel, features)
    sample = serving_sample(model.module, features, 100)
    start = CompressedModel(model, export_onnx(model.module, sample))
    tune = FineTuner(features, SEED, judge=lambda one: validation_quality(one, features, case.task, case.metric, users=USERS, seed=SEED))
    context = CompressionContext(TARGET, features, sample, tune, np.random.default_rng(SEED))
    exact, before = _answers(start, sample), _quality(start, features, case)
    found, graphs = [], {}
    for name, options, after in [("float32", "", start), *variants(kernel, start, context)]:
        row: dict[str, Any] = {"model": case.blueprint, "compressor": name, "options": options}
        if isinstance(after, str):
            found.append({**row, "skipped": after})
            continue
        assert after.graph is not None
        quality, answers = _quality(after, features, case), _answers(after, sample)
        told = gain(quality, before, np.random.default_rng(SEED))
        row |= {"bytes": len(after.graph), "of": round(len(after.graph) / len(start.graph or b""), 4)}
        row |= {"error": float(np.linalg.norm(answers - exact) / np.linalg.norm(exact)), case.metric: round(quality.value, 5)}
        row |= {"difference": None if told is None else [round(x, 5) for x in (told.difference, told.low, told.high)]}
        graphs[f"{name} {options}".strip()] = Graph(after.graph, graph_spec(after.model.module), name=name)
        found.append(row)
    for batch in (1, 100):
        timed = latencies(graphs, tile_rows(sample, batch), rounds)
        for row in found:
            key = f"{row['compressor']} {row['options']}".strip()
            if key in timed:
                row[f"p50_us_{batch}"] = timed[key]
    return found


def latencies(graphs: Mapping[str, Graph], inputs: Mapping[str, np.ndarray], rounds: int) -> dict[str, float]:
    """Return name → median CPU microseconds of a call; the first five rounds warm up."""
    taken: dict[str, list[int]] = {name: [] for name in graphs}
    names, rng = list(graphs), np.random.default_rng(SEED)
    for number in range(5 + rounds):
        for name in rng.permutation(names):
            started = time.thread_time_ns()
            graphs[name].run(inputs)
            if number >= 5:
                taken[name].append(time.thread_time_ns() - started)
    return {name: round(float(np.median(values)) / 1e3, 1) for name, values in taken.items()}


def _quality(model: CompressedModel, features: FeatureSet, case: Case) -> Any:
    assert model.graph is not None
    served = GraphNetwork(model.model.module, model.graph)
    return validation_quality(served, features, case.task, case.metric, users=USERS, seed=SEED)


def _answers(model: CompressedModel, sample: Mapping[str, np.ndarray]) -> np.ndarray:
    spec = graph_spec(model.model.module)
    return Graph(model.graph or b"", spec).run(sample)[spec["outputs"][0]]


def main() -> None:
    """Print one JSON line a variant, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--rounds", type=int, default=100, help="timed calls of each variant")
    parser.add_argument("--out", type=Path, help="JSON lines are written here as well")
    stated = parser.parse_args()
    torch.set_num_threads(1)
    kernel, lines = Kernel.discover(), []
    for name in stated.models:
        started = time.process_time()
        for row in rows_of(CASES[name], kernel, stated.rounds):
            lines.append(json.dumps(row))
            print(lines[-1], flush=True)
        print(f"# {name}: {time.process_time() - started:.0f} CPU seconds", flush=True)
    if stated.out is not None:
        stated.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
