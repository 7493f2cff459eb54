"""Every blueprint with float32, eight-bit and four-bit tables: parity with torch, overlap of lists of ten, and tables that were left.

Each model is trained for one epoch on the packaged MovieLens ratings (items with five ratings or more) and exported; all items are scored
for a hundred users as serving does. The overlap is the mean share of the ten best items in float32 that are among the ten best of the
quantised graph. A table of at least 4,096 numbers that look-ups read and that stays in float32 is counted as left.

    python -m benchmarks.zoo_quantised --out benchmarks/results/zoo_quantised.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch

import autorec_kernel.data
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx, graph_spec, parity
from autorec_kernel.deploy.plan import serving_sample
from autorec_kernel.errors import ContractError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.requests import stored_request
from autorec_kernel.serving.scorers import make_scorer
from autorec_quantize.graphs import looked_up
from benchmarks.compressors import Case, trained

TABLES = ("quantize/int8-tables", "quantize/int4-tables")
SMALLEST, NARROWEST, USERS = 4096, 8, 100
_RATINGS = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"
_SPLITS: dict[str, dict[str, Any]] = {
    "recommend": {"protocol": "leave-one-out"},
    "click": {"positive_threshold": 4.0, "protocol": "random"},
    "rate": {"protocol": "random"},
}


def lists(graph: bytes, network: Any, features: FeatureSet) -> np.ndarray:
    """Return int64 [USERS, 10], the best items of the first users, seen ones among them."""
    session, state = Graph(graph, graph_spec(network)), features.state()
    scorer = make_scorer(session, state, session.items())
    found = np.concatenate([scorer.catalogue([stored_request(state, user)])[:, 1:] for user in range(1, USERS + 1)])
    return np.argsort(-found, axis=1, kind="stable")[:, :10]


def row(name: str, kernel: Kernel, features: dict[str, FeatureSet]) -> dict[str, Any]:
    """Train, export and quantise one blueprint."""
    task = next(task for task in _SPLITS if task in kernel.load("blueprint", name).tasks)
    own = features[task]
    model = trained(Case(name, task, "", 0, {}), kernel, own)  # type: ignore[arg-type]
    if model.module.trainable:  # no closed form
        model = trained(Case(name, task, "", 1, {}), kernel, own)  # type: ignore[arg-type]
    network, sample = model.module, serving_sample(model.module, own)
    graph = export_onnx(network, sample)
    told: dict[str, Any] = {"blueprint": name, "task": task, "parity": parity(network, graph, sample), "kB": len(graph) // 1000}
    exact = lists(graph, network, own)
    context = CompressionContext(Target("benchmark"), own, sample, lambda one, share: one, np.random.default_rng(0))
    for component in TABLES:
        short = component.partition("/")[2].partition("-")[0]
        try:
            small = kernel.create("compressor", component).compress(CompressedModel(model, graph), context).graph
        except NotApplicable as reason:
            left = looked_up(onnx.ModelProto.FromString(graph), SMALLEST, NARROWEST)
            told |= {short: {"not applicable": reason.message, "left": len(left)}}
            continue
        left = looked_up(onnx.ModelProto.FromString(small or b""), SMALLEST, NARROWEST)
        found = lists(small or b"", network, own)
        overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)])
        told |= {short: {"of": round(len(small or b"") / len(graph), 3), "overlap": round(float(overlap), 4), "left": len(left)}}
    return told


def rows(kernel: Kernel, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row a blueprint; what this table cannot train is a row with the reason."""
    ratings = pd.read_csv(_RATINGS)
    often = ratings.groupby("item_id")["rating"].transform("size") >= 5
    made = {task: open_dataset(ratings[often], task=task, **split) for task, split in _SPLITS.items()}  # type: ignore[arg-type]
    features = {task: build_features(one, kernel, task=task, history_length=50) for task, one in made.items()}  # type: ignore[arg-type]
    several = _several(ratings[often], kernel)
    for name in names or [one.id for one in kernel.components("blueprint") if one.usable]:
        try:
            yield row(name, kernel, features)
        except ContractError:  # it needs several labels
            try:
                yield row(name, kernel, several)
            except ContractError as error:
                yield {"blueprint": name, "left out": f"{type(error).__name__}: {error}"[:200]}


def _several(ratings: pd.DataFrame, kernel: Kernel) -> dict[str, FeatureSet]:
    """Return the features of a table with a click (three stars) and a conversion (four and a half) in place of ratings."""
    labels = {"click": ratings["rating"] >= 3.0, "conversion": ratings["rating"] >= 4.5}
    table = ratings.drop(columns="rating").assign(**{name: value.astype(int) for name, value in labels.items()})
    found = {}
    for task, split in _SPLITS.items():
        told = {key: value for key, value in split.items() if key != "positive_threshold"}
        one = open_dataset(table, task=task, roles=dict.fromkeys(labels, "label"), **told)  # type: ignore[arg-type]
        found[task] = build_features(one, kernel, task=task, history_length=50)  # type: ignore[arg-type]
    return found


def main() -> int:
    """Print a JSON line a blueprint and a summary; exit code 1 where parity is missed or a table was left without a word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blueprints", nargs="+", default=[], help="some of them alone")
    parser.add_argument("--out", type=Path, help="JSON lines are written here as well")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found, lines = [], []
    for told in rows(Kernel.discover(), given.blueprints):
        found.append(told)
        lines.append(json.dumps(told))
        print(lines[-1], flush=True)
    done = [one for one in found if "parity" in one]
    summary: dict[str, Any] = {"blueprints": len(found), "done": len(done), "worst parity": max(one["parity"] for one in done)}
    for short in ("int8", "int4"):
        overlaps = [one[short]["overlap"] for one in done if "overlap" in one[short]]
        summary[short] = {"quantised": len(overlaps), "median overlap": float(np.median(overlaps)), "least": min(overlaps)}
        summary[short]["left"] = sum(one[short]["left"] for one in done)
    summary["load"] = round(os.getloadavg()[0], 1)
    lines.append(json.dumps(summary))
    print(lines[-1])
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(summary["worst parity"] > 1e-5 or summary["int8"]["left"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
