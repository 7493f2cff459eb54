"""Test AUC of rankers beside four libraries: equal rows, columns, sizes, batch, rate and epochs; compared by a bootstrap over users.

`train` trains every library's version of a model, a seed at a time, keeps the epoch with the best validation AUC, and writes its test
scores unjudged. `judge` reads the test labels once and compares ours with the peer whose mean validation AUC is best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.evaluation._auc import AucSample
from benchmarks.peers.client import PEERS, Worker, WorkerError
from benchmarks.peers.machine import facts_of_machine
from benchmarks.ranker_throughput import ABSENT, start
from benchmarks.ranker_throughput import MODELS as TIMED

MODELS = {  # model → the peers that have it
    **{name: tuple(peer for peer in PEERS if (peer, name) not in ABSENT) for name in TIMED},
    "xDeepFM": ("recbole", "deepctr-torch", "fuxictr"),
    "PNN": ("recbole", "deepctr-torch", "fuxictr"),
    "NFM": ("recbole", "deepctr-torch", "fuxictr"),
    "FM": ("recbole", "fuxictr"),
    "LR": ("recbole", "fuxictr"),
    "FinalMLP": ("fuxictr",),
}


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half."""
    return AucSample.prepare(labels.astype(np.int64), scores).value


def best_epoch(worker: Worker, labels: np.ndarray, epochs: int, patience: int) -> tuple[np.ndarray, list[float], float]:
    """Train until the validation AUC has not risen for `patience` epochs; return the best one's test scores, the curve, CPU seconds.

    Args:
        labels: 0 or 1, [validation rows].
    """
    curve: list[float] = []
    kept, used = np.zeros(0), 0.0
    for _ in range(epochs):
        used += worker.epoch()["cpu_s"]
        curve.append(auc(labels, worker.scores("valid")))
        if curve[-1] == max(curve):
            kept = worker.scores("test")
        if len(curve) - int(np.argmax(curve)) > patience:
            break
    return kept, curve, used


def train(data: Path, model: str, system: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train one model of one library and write its test scores and its curve."""
    labels = np.load(data / "valid.npz")["label"]
    stem = given.scores / data.name / f"{model}-{system}-{seed}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        worker = start(system, {"data": str(data), "model": model, "batch": given.batch, "seed": seed, "work": work}, given)
        try:
            kept, curve, used = best_epoch(worker, labels, given.epochs, given.patience)
        finally:
            worker.close()
    facts = {"batch": given.batch, "epochs": given.epochs, "patience": given.patience, "load": round(os.getloadavg()[0], 1)}
    told = {"model": model, "system": system, "seed": seed, "valid": max(curve), "epoch": int(np.argmax(curve)) + 1, **facts}
    told |= {"curve": [round(value, 5) for value in curve], "cpu_s": round(used, 2), **worker.facts}
    np.save(f"{stem}.npy", kept)
    Path(f"{stem}.json").write_text(json.dumps(told) + "\n")
    return told


def means_of_resamples(
    labels: np.ndarray, users: np.ndarray, scores: Mapping[str, Sequence[np.ndarray]], rng: np.random.Generator, resamples: int = 1000
) -> dict[str, np.ndarray]:
    """Return system → float64 [1 + resamples], the mean AUC of its score vectors: first of the rows as they are, then of resampled users.

    All systems are judged on the same resamples, so that differences of two entries are paired.

    Args:
        labels: 0 or 1, [rows].
        users: int [rows]; the rows of a user are drawn together.
        scores: System → one float [rows] a seed.
    """
    positive, owner = labels.astype(np.int64), np.unique(users, return_inverse=True)[1]
    n = int(owner.max()) + 1
    samples = {name: [AucSample.prepare(positive, one) for one in several] for name, several in scores.items()}
    found: dict[str, list[float]] = {name: [] for name in samples}
    for index in range(1 + resamples):
        weights = np.bincount(rng.integers(0, n, n), minlength=n)[owner] if index else np.ones(len(owner), dtype=np.int64)
        for name, several in samples.items():
            found[name].append(float(np.mean([one.resampled(weights) for one in several])))
    return {name: np.array(values) for name, values in found.items()}


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the first value, and the 95 % percentile interval of the rest."""
    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return {"value": round(float(values[0]), 5), "low": round(float(low), 5), "high": round(float(high), 5)}


def verdict(difference: Mapping[str, float]) -> str:
    """Return in a word what an interval of ours minus the peer's says."""
    return "worse" if difference["high"] < 0 else "better" if difference["low"] > 0 else "not told apart"


def contenders(data: Path, model: str, given: argparse.Namespace) -> list[str]:
    """Return the peers that are trained with further seeds: the best ones by the validation AUC of the first seed.

    The best peer of the comparison is one of them.
    """
    found = {}
    for system in MODELS[model]:
        file = given.scores / data.name / f"{model}-{system}-{given.seeds[0]}.json"
        if file.exists():
            found[system] = float(json.loads(file.read_text())["valid"])
    return sorted(found, key=lambda name: found[name], reverse=True)[: given.contenders]


def judged(data: Path, model: str, given: argparse.Namespace) -> dict[str, Any] | None:
    """Compare ours with each peer on the test rows, over the seeds that ours and the contenders have; None without one."""
    folder, test = given.scores / data.name, np.load(data / "test.npz")
    rivals = contenders(data, model, given)
    shared = [seed for seed in given.seeds if all((folder / f"{model}-{name}-{seed}.json").exists() for name in ("ours", *rivals))]
    if not rivals or not shared:
        return None
    trainings: dict[str, list[dict[str, Any]]] = {}
    for system in ("ours", *MODELS[model]):
        files = [folder / f"{model}-{system}-{seed}.json" for seed in shared]
        trainings[system] = [json.loads(file.read_text()) for file in files if file.exists()]
    trainings = {name: told for name, told in trainings.items() if told}
    scores = {name: [np.load(folder / f"{model}-{name}-{one['seed']}.npy") for one in told] for name, told in trainings.items()}
    drawn = means_of_resamples(test["label"], test["user_id"], scores, np.random.default_rng(0))
    systems = {name: _system(told, scores[name], test["label"], drawn[name]) for name, told in trainings.items()}
    peers = [name for name in systems if name != "ours"]
    best = max(rivals, key=lambda name: float(systems[name]["valid"]))
    differences = {name: interval(drawn["ours"] - drawn[name]) for name in peers}
    return {"model": model, "best_peer": best, "verdict": verdict(differences[best]), "differences": differences, "systems": systems}


def _system(told: Sequence[Mapping[str, Any]], scores: Sequence[np.ndarray], labels: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    """Return the figures of one library: means over seeds, and each training."""
    apart = [round(auc(labels, one), 5) for one in scores]
    kept = ("seed", "valid", "epoch", "cpu_s", "load", "curve")
    first = {
        name: told[0].get(name) for name in ("parameters", "rows", "torch", "numpy", "recbole", "torch_rechub", "deepctr_torch", "fuxictr")
    }
    return {
        "valid": round(float(np.mean([one["valid"] for one in told])), 5),
        "test": interval(drawn),
        "test_by_seed": apart,
        "spread": round(float(np.std(apart, ddof=1)), 5) if len(apart) > 1 else None,
        **{name: value for name, value in first.items() if value is not None},
        "trainings": [{name: one[name] for name in kept} for one in told],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown table: test AUC, and ours minus the peer that validation names."""
    names = ("ours", *PEERS)
    lines = [
        "| model | seeds | " + " | ".join(names) + " | ours - best peer by validation (95 %) | verdict |",
        "|---" * (len(names) + 4) + "|",
    ]
    for row in rows:
        systems, found = row["systems"], row["differences"][row["best_peer"]]
        seeds = len(systems["ours"]["trainings"])
        cells = [_cell(systems.get(name), seeds, best=name == row["best_peer"]) for name in names]
        told = f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
        lines.append(f"| {row['model']} | {seeds} | {' | '.join(cells)} | {told} | {row['verdict']} |")
    return "\n".join(lines)


def _cell(found: Mapping[str, Any] | None, seeds: int, *, best: bool) -> str:
    """Return a mean test AUC; bold for the best peer, with a dagger where seeds are missing."""
    if found is None:
        return "-"
    told = f"{found['test']['value']:.4f}{'' if len(found['trainings']) == seeds else '†'}"
    return f"**{told}**" if best else told


def run_all(given: argparse.Namespace) -> None:
    """Train what has no scores yet; a failed training is told and left out."""
    for data, seed, model in itertools.product(given.data, given.seeds, given.models):
        peers = MODELS[model] if seed == given.seeds[0] else contenders(data, model, given)
        for system in [name for name in ("ours", *peers) if name in given.systems]:
            if (given.scores / data.name / f"{model}-{system}-{seed}.json").exists():
                continue
            try:
                told = train(data, model, system, seed, given)
                print(data.name, model, system, seed, f"{told['valid']:.4f}", told["epoch"], told["cpu_s"], flush=True)
            except WorkerError as error:
                print(data.name, model, system, seed, "ERROR", str(error).splitlines()[-1][:200], flush=True)


def judge_all(given: argparse.Namespace) -> None:
    """Judge all data sets, write JSON and print the tables."""
    told: dict[str, Any] = {"machine": facts_of_machine(), "seeds": given.seeds, "data": {}}
    for data in given.data:
        labels, users = (np.load(data / "test.npz")[name] for name in ("label", "user_id"))
        rows = [row for row in (judged(data, model, given) for model in given.models) if row]
        told["data"][data.name] = {"test_rows": len(labels), "test_users": len(np.unique(users)), "models": rows}
        print(f"\n{data.name}\n\n{table(rows)}")
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


def main() -> None:
    """Do one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("train", "judge"))
    parser.add_argument("scores", type=Path, help="where scores lie; trainings that are there already are not repeated")
    parser.add_argument("data", type=Path, nargs="+", help="folders that benchmarks.peers.data wrote")
    parser.add_argument("--peers", type=Path, help="folder of the environments (peers/install.sh)")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the project installed")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--systems", nargs="+", default=["ours", *PEERS], help="some only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--contenders", type=int, default=2, help="peers that are trained with the seeds after the first")
    parser.add_argument("--epochs", type=int, default=20, help="at most")
    parser.add_argument("--patience", type=int, default=3, help="epochs without a better validation AUC")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--out", type=Path, help="result file of judge")
    given = parser.parse_args()
    given.data, given.scores = [path.resolve() for path in given.data], given.scores.resolve()
    run_all(given) if given.step == "train" else judge_all(given)


if __name__ == "__main__":
    main()
