"""Test NDCG@10 of retrievers beside their peers': equal rows, validation, CPU seconds and judge; compared user by user.

`ours` and `peers` train every model once a value of one option, early stopped on validation NDCG@10, and write the scores of the best for
all users. `judge` opens the test part once and compares all score files: bootstrap intervals of paired differences.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, evaluate_ranking, train
from autorec_kernel.models.scoring import rank_block
from benchmarks.retriever_judge import METRIC, judged, longer, table
from benchmarks.retriever_pairs import PAIRS, PEERS, Ours


class BudgetSpentError(Exception):
    """The CPU seconds of a training are used up."""


class Judge:
    """Judges each epoch on the validation rows, keeps the best weights and ends the training when its CPU seconds are used up."""

    def __init__(self, features: FeatureSet, budget: float) -> None:
        self.features, self.budget, self.begin = features, budget, time.process_time()
        self.curve: list[tuple[float, float]] = []
        self.best: tuple[float, Network, dict[str, torch.Tensor]] | None = None

    def __call__(self, network: Network) -> float:
        """Return the validation NDCG@10."""
        value = float(evaluate_ranking(network, self.features, self.features.evaluation("valid"), (METRIC,)).mean()[METRIC] or 0.0)
        self.curve.append((round(time.process_time() - self.begin, 2), round(value, 5)))
        if self.best is None or value > self.best[0]:
            self.best = (value, network, {name: tensor.clone() for name, tensor in network.state_dict().items()})
        if self.curve[-1][0] > self.budget:
            raise BudgetSpentError
        return value

    def told(self) -> dict[str, Any]:
        """Return the curve and its best point."""
        at, value = max(self.curve, key=lambda point: point[1])
        return {"valid": value, "cpu_s": self.curve[-1][0], "best_at_cpu_s": at, "judged": len(self.curve), "curve": self.curve}


def events_of(given: argparse.Namespace) -> pd.DataFrame:
    """Return the events: user, item and their order; of users with `least` events every `every`-th, where that is asked for."""
    order = next(name for name in ("position", "timestamp") if name in pd.read_csv(given.table, nrows=0))
    events = pd.read_csv(given.table, usecols=["user_id", "item_id", order])
    counts = events.groupby("user_id").size()
    kept = counts.index[counts >= given.least][:: given.every]
    return events[events["user_id"].isin(kept)].reset_index(drop=True)


def opened(given: argparse.Namespace) -> tuple[Kernel, Any, FeatureSet]:
    """Return the data; histories are kept whole."""
    dataset = open_dataset(events_of(given), task="recommend", protocol="leave-one-out")
    kernel = Kernel.discover()
    return kernel, dataset, build_features(dataset, kernel, history_length=1000)


def trained(kernel: Kernel, features: FeatureSet, ours: Ours, choice: float, given: argparse.Namespace) -> tuple[Network, Judge]:
    """Train one model with one value of its option."""
    learned = ours.option == "learning_rate"
    config = {**ours.config, **({} if learned or ours.option == "none" else {ours.option: choice})}
    graph = kernel.create("blueprint", ours.blueprint, **config).architecture(features.schema)
    rate = {"learning_rate": choice} if learned else {}
    settings = FitSettings(batch_size=ours.batch, epochs=10_000, patience=given.patience, **rate)
    judge = Judge(features, given.budget)
    try:
        network, report = train(graph, features, features.schema, kernel, settings, seed=given.seed, trial=0, validate=judge)
        if not report.losses:
            judge(network)
    except BudgetSpentError:
        _, network, weights = judge.best  # type: ignore[misc]
        network.load_state_dict(weights)
        network.settle()
    return network.eval(), judge


def run_ours(name: str, given: argparse.Namespace, kernel: Kernel, features: FeatureSet) -> None:
    """Train one of our models and write its scores."""
    ours, told, best = PAIRS[name], {}, None
    for choice in chosen(given, f"ours-{name}") or given.choices or ours.choices:
        network, judge = trained(kernel, features, ours, choice, given)
        told[str(choice)] = judge.told()
        if best is None or told[str(choice)]["valid"] > best[0]:
            best = (told[str(choice)]["valid"], choice, network)
    users, network = features.evaluation("valid").users, best[2]
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    np.save(given.folder / f"ours-{name}.npy", rank_block(network, features.state(), users, longer(features), vectors))
    answer = {"option": ours.option, "chosen": best[1], "valid": best[0], "trainings": told, "versions": {"torch": torch.__version__}}
    (given.folder / f"ours-{name}.json").write_text(json.dumps(answer))


def run_peer(stem: str, given: argparse.Namespace, features: FeatureSet) -> None:
    """Let a peer train one model on the same rows."""
    rows, asked, peer = given.folder / "rows.npz", features.evaluation("valid"), PEERS[stem]
    told = {"users": asked.users, "valid": asked.positive_items, "items": features.schema.items}
    np.savez(rows, history=asked.history_items, offsets=asked.history_offsets, **told)
    columns = ["user_id", *(["item_id_list"] if peer.sequential else []), "item_id"]
    library, model = stem.split("-")[:2]
    options = {**asdict(peer), "choices": chosen(given, stem + given.suffix) or given.choices or list(peer.choices), "length": given.length}
    options |= {"model": model, "rows": str(rows), "columns": columns, "budget": given.budget, "patience": given.patience}
    options |= {"seed": given.seed, "work": str(given.folder), "out": str(given.folder / f"{stem}{given.suffix}")}
    options |= {"parts": given.parts or peer.parts}
    worker = Path(__file__).parent / "peers" / f"{library}_accuracy_worker.py"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""}
    python = str(given.peers / library / "bin" / "python")
    subprocess.run([python, "-W", "ignore", str(worker), json.dumps(options)], check=True, env=environment, cwd=given.folder)


def chosen(given: argparse.Namespace, stem: str) -> list[float]:
    """Return what an earlier run (`--like`, of another seed) chose on its validation rows; nothing without one."""
    return [json.loads((given.like / f"{stem}.json").read_text())["chosen"]] if given.like else []


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("ours", "peers", "judge"))
    parser.add_argument("table", type=Path, help="events with user_id, item_id and timestamp or position")
    parser.add_argument("folder", type=Path, help="where scores lie")
    parser.add_argument("--models", nargs="+", help="some only; a peer's as LIBRARY-MODEL")
    parser.add_argument("--least", type=int, default=0, help="events that a user has at least")
    parser.add_argument("--every", type=int, default=1, help="of these users every n-th")
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of one training, judging included")
    parser.add_argument("--patience", type=int, default=10, help="passes without a better validation value")
    parser.add_argument("--choices", nargs="+", type=float, help="of the option that is chosen")
    parser.add_argument("--like", type=Path, help="folder of another seed, whose choices are taken")
    parser.add_argument("--length", type=int, default=50, help="steps that a peer's sequential model reads")
    parser.add_argument("--parts", type=int, default=0, help="judgements in a peer's pass")
    parser.add_argument("--suffix", default="", help="of the peer's file")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="result file of judge, which keeps what it holds of other data")
    parser.add_argument("--also", type=Path, nargs="+", default=[], help="folders of further seeds: judge averages each user's values")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    given.folder = given.folder.resolve()
    return given


def main() -> None:
    """Do one of the three steps."""
    given = arguments()
    torch.set_num_threads(1)
    kernel, dataset, features = opened(given)
    if given.step == "judge":
        result = judged([given.folder, *given.also], dataset, features)
        result |= {"data": given.table.parent.name, "budget": given.budget, "least": given.least, "every": given.every}
        runs = json.loads(given.out.read_text()) if given.out.exists() else {}
        given.out.write_text(json.dumps({**runs, given.table.parent.name: result}) + "\n")
        print(table(result))
        return
    for name in given.models or (PAIRS if given.step == "ours" else PEERS):
        run_ours(name, given, kernel, features) if given.step == "ours" else run_peer(name, given, features)
        stem = f"ours-{name}" if given.step == "ours" else f"{name}{given.suffix}"
        told = json.loads((given.folder / f"{stem}.json").read_text())
        brief = {choice: (one["valid"], one["best_at_cpu_s"], one["cpu_s"], one["judged"]) for choice, one in told["trainings"].items()}
        print(json.dumps({"model": stem, **brief}), flush=True)


if __name__ == "__main__":
    main()
