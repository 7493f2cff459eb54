"""Test NDCG@10 of retrievers beside RecBole's: equal rows, validation, CPU seconds and judge; compared user by user.

`ours` and `recbole` train every model once a value of one option, early stopped on validation NDCG@10, and write the scores of the best for
all users. `judge` opens the test part once and compares all score files in a folder: bootstrap intervals of paired differences.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation import RankingResult, bootstrap_interval, evaluate_scores, paired_comparison
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.evaluation import EvaluationSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, evaluate_ranking, train
from autorec_kernel.models.scoring import rank_block
from benchmarks.peers.machine import facts_of_machine
from benchmarks.retriever_pairs import PAIRS, PEERS, Ours

METRIC = "ndcg@10"


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


def opened(table: Path) -> tuple[Kernel, Any, FeatureSet]:
    """Return the data; histories are kept whole."""
    columns = ["user_id", "item_id", "timestamp"]
    dataset = open_dataset(pd.read_csv(table, usecols=columns), task="recommend", protocol="leave-one-out")
    kernel = Kernel.discover()
    return kernel, dataset, build_features(dataset, kernel, history_length=1000)


def longer(features: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the histories of the validation users with their validation item behind them."""
    asked = features.evaluation("valid")
    lists = np.split(asked.history_items, asked.history_offsets[1:-1])
    joined = [np.append(own, item) for own, item in zip(lists, asked.positive_items, strict=True)]
    return np.append(0, np.cumsum([len(own) for own in joined])), np.concatenate(joined)


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
    for choice in ours.choices:
        network, judge = trained(kernel, features, ours, choice, given)
        told[str(choice)] = judge.told()
        if best is None or told[str(choice)]["valid"] > best[0]:
            best = (told[str(choice)]["valid"], choice, network)
    users, network = features.evaluation("valid").users, best[2]
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    np.save(given.folder / f"ours-{name}.npy", rank_block(network, features.state(), users, longer(features), vectors))
    answer = {"option": ours.option, "chosen": best[1], "valid": best[0], "trainings": told, "versions": {"torch": torch.__version__}}
    (given.folder / f"ours-{name}.json").write_text(json.dumps(answer))


def run_peer(name: str, given: argparse.Namespace, features: FeatureSet) -> None:
    """Let RecBole train one model on the same rows."""
    rows, asked, peer = given.folder / "rows.npz", features.evaluation("valid"), PEERS[name]
    told = {"users": asked.users, "valid": asked.positive_items, "items": features.schema.items}
    np.savez(rows, history=asked.history_items, offsets=asked.history_offsets, **told)
    columns = ["user_id", *(["item_id_list"] if peer.sequential else []), "item_id"]
    suffix, options = given.suffix, {**asdict(peer), "choices": given.choices or list(peer.choices)}
    options |= {"model": name, "rows": str(rows), "columns": columns, "budget": given.budget, "patience": given.patience}
    options |= {"seed": given.seed, "work": str(given.folder), "out": str(given.folder / f"recbole-{name}{suffix}")}
    worker = Path(__file__).parent / "peers" / "recbole_accuracy_worker.py"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([given.python, "-W", "ignore", str(worker), json.dumps(options)], check=True, env=environment, cwd=given.folder)


def asked_of(features: FeatureSet) -> tuple[EvaluationSet, np.ndarray]:
    """Return the test users whose history is the one that was scored, and their rows in the score files.

    The others are left out: training does not know their validation item, so that a history cannot hold it.
    """
    before, after, (offsets, items) = features.evaluation("valid"), features.evaluation("test"), longer(features)
    scored = dict(zip(before.ids, np.split(items, offsets[1:-1]), strict=True))
    lists = np.split(after.history_items, after.history_offsets[1:-1])
    kept = [row for row, (user, own) in enumerate(zip(after.ids, lists, strict=True)) if np.array_equal(scored.get(user), own)]
    place = {user: row for row, user in enumerate(before.ids)}
    return after.take(np.array(kept)), np.array([place[after.ids[row]] for row in kept])


def found_in(folder: Path, asked: EvaluationSet, rows: np.ndarray) -> dict[str, RankingResult]:
    """Judge every score file of the folder on the opened test rows."""
    return {
        file.stem: evaluate_scores((METRIC, "recall@10"), asked.users, np.load(file)[rows], asked.positives, asked.seen)
        for file in sorted(folder.glob("*-*.npy"))
    }


def compared(first: RankingResult, second: RankingResult) -> dict[str, Any]:
    """Return the paired difference of two models, first minus second."""
    return paired_comparison(first.values[METRIC], second.values[METRIC], np.random.default_rng(0)).to_json()


def judged(given: argparse.Namespace, dataset: Any, features: FeatureSet) -> dict[str, Any]:
    """Open the test part, judge all, compare ours with their peers and with popularity."""
    dataset.test.fix_plan("models, options and weights are chosen; their scores are written")
    features.open_test(dataset.test.open("final figures"))
    asked, rows = asked_of(features)
    left_out = len(features.evaluation("test")) - len(asked)
    found, models = found_in(given.folder, asked, rows), {}
    for stem, result in found.items():
        training = json.loads((given.folder / f"{stem}.json").read_text())
        interval = bootstrap_interval(result.values[METRIC], np.random.default_rng(0)).to_json()
        models[stem] = {**training, "test": interval, "recall@10": result.mean()["recall@10"]}
    peers = [stem for stem in models if stem.startswith("recbole-")]
    best = max(peers, key=lambda stem: float(models[stem]["valid"]), default="")  # RecBole's best of all, on the validation rows
    pairs: dict[str, Any] = {}
    for name, ours in PAIRS.items():
        if f"ours-{name}" not in found:
            continue
        others = {f"recbole-{ours.peer}", f"recbole-{ours.peer}-long", "ours-popularity", best} & set(found)
        pairs[name] = {other: compared(found[f"ours-{name}"], found[other]) for other in sorted(others)}
    about = {
        "users": len(asked),
        "left_out": left_out,
        "items": features.schema.items - 1,
        "events": features.schema.events,
        "seed": given.seed,
    }
    return {"data": given.table.parent.name, **about, "machine": facts_of_machine(), "models": models, "best": best, "pairs": pairs}


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table of a result: values with their 95 % intervals, and paired differences."""
    lines = [
        "| ours | test NDCG@10 | RecBole | test NDCG@10 | ours - RecBole (95 %) | ours - popularity (95 %) | ours - RecBole's best |",
        "|---|---|---|---|---|---|---|",
    ]
    models = result["models"]
    for name, ours in PAIRS.items():
        if name not in result["pairs"]:
            continue
        stems = [stem for stem in (f"recbole-{ours.peer}", f"recbole-{ours.peer}-long") if stem in models] or [""]
        for stem in stems:
            other = [stem.removeprefix("recbole-"), _figure(models[stem]["test"], "mean")] if stem else ["-", "-"]
            differences = [result["pairs"][name].get(against) for against in (stem, "ours-popularity", result["best"])]
            told = [_figure(one, "difference") if one else "-" for one in differences]
            lines.append(f"| {' | '.join([name, _figure(models[f'ours-{name}']['test'], 'mean'), *other, *told])} |")
    return "\n".join(lines)


def _figure(found: dict[str, float], value: str) -> str:
    sign = "+" if value == "difference" else ""
    return f"{found[value]:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"


def main() -> None:
    """Do one of the three steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("ours", "recbole", "judge"))
    parser.add_argument("table", type=Path, help="ratings with user_id, item_id and timestamp")
    parser.add_argument("folder", type=Path, help="where scores lie")
    parser.add_argument("--models", nargs="+", help="some only")
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of one training, judging included")
    parser.add_argument("--patience", type=int, default=10, help="passes without a better validation value")
    parser.add_argument("--choices", nargs="+", type=float, help="of the peer's option")
    parser.add_argument("--suffix", default="", help="of the peer's file")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peer's environment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="result file of judge")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    given.folder = given.folder.resolve()
    kernel, dataset, features = opened(given.table)
    if given.step == "judge":
        result = judged(given, dataset, features)
        given.out.write_text(json.dumps(result) + "\n")
        print(table(result))
        return
    for name in given.models or (PAIRS if given.step == "ours" else PEERS):
        run_ours(name, given, kernel, features) if given.step == "ours" else run_peer(name, given, features)
        stem = f"ours-{name}" if given.step == "ours" else f"recbole-{name}{given.suffix}"
        told = json.loads((given.folder / f"{stem}.json").read_text())
        brief = {choice: (one["valid"], one["best_at_cpu_s"], one["cpu_s"], one["judged"]) for choice, one in told["trainings"].items()}
        print(json.dumps({"model": stem, **brief}), flush=True)


if __name__ == "__main__":
    main()
