"""Training throughput of eight rankers against four libraries: equal data, batch, widths, loss and optimiser; CPU seconds, interleaved."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.peers.client import PEERS, Worker, WorkerError
from benchmarks.peers.machine import facts_of_machine, gemm_gflops, tower_limit

MODELS = ("WideDeep", "DeepFM", "DCN", "DCNv2", "AFM", "FiBiNET", "AutoInt", "DIN")
ABSENT = {  # not in that library, or another model: RecBole's DIN augments sequences, torch-rechub's AFM attends over one pooled vector
    ("recbole", "FiBiNET"),
    ("recbole", "DIN"),
    ("torch-rechub", "AFM"),
}


def start(name: str, options: dict[str, Any], given: argparse.Namespace) -> Worker:
    """Start the worker of a library."""
    if name == "ours":
        return Worker(name, "ours_worker.py", given.python, options, given.core)
    python = str(given.peers / PEERS[name] / "bin" / "python")
    paths = str(given.peers / "fuxi_src") if name == "fuxictr" else ""
    return Worker(name, f"{name.replace('torch-rechub', 'rechub').replace('-torch', '')}_worker.py", python, options, given.core, paths)


def measure(model: str, given: argparse.Namespace, labels: np.ndarray) -> dict[str, Any]:
    """Train all libraries' versions of a model, one epoch each in turn; the first epoch warms up."""
    workers: dict[str, Worker] = {}
    found: dict[str, Any] = {"model": model, "load": round(os.getloadavg()[0], 1), "systems": {}}
    with tempfile.TemporaryDirectory() as work:
        options = {"data": str(given.data), "model": model, "batch": given.batch, "seed": given.seed, "work": work}
        for name in ("ours", *given.against):
            if (name, model) in ABSENT:
                continue
            try:
                workers[name] = start(name, options, given)
                found["systems"][name] = {"epochs_cpu_s": [], **workers[name].facts}
            except WorkerError as error:
                found["systems"][name] = {"error": str(error)[-600:]}
        try:
            _interleave(workers, found["systems"], given.epochs)
            for name, worker in workers.items():
                found["systems"][name]["auc"] = _auc(labels, worker.scores())
        finally:
            for worker in workers.values():
                worker.close()
    return _summary(found)


def _interleave(workers: dict[str, Worker], systems: dict[str, Any], epochs: int) -> None:
    for _ in range(epochs):
        for name, worker in workers.items():
            told = worker.epoch()
            systems[name]["epochs_cpu_s"].append(round(told["cpu_s"], 3))
            systems[name]["peak_mib"] = told["peak_mib"]


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    return round(float(roc_auc_score(labels, scores)), 5)


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    rivals = {}
    for name, told in found["systems"].items():
        if "error" in told:
            continue
        timed = told["epochs_cpu_s"][1:] or told["epochs_cpu_s"]
        told["median_cpu_s"], told["spread_cpu_s"] = statistics.median(timed), round(max(timed) - min(timed), 3)
        told["rows_per_cpu_s"] = round(told["rows"] / told["median_cpu_s"])
        if name != "ours":
            rivals[name] = told
    ours = found["systems"].get("ours", {})
    if "median_cpu_s" in ours and rivals:
        fastest = min(rivals, key=lambda name: rivals[name]["median_cpu_s"])
        found["fastest_peer"], found["ratio"] = fastest, round(rivals[fastest]["median_cpu_s"] / ours["median_cpu_s"], 2)
        found["auc_minus_best_peer"] = round(ours["auc"] - max(told["auc"] for told in rivals.values()), 4)
    return found


def line(found: dict[str, Any]) -> str:
    """Return one readable line."""
    cells = [
        f"{name} {told['rows_per_cpu_s']:,}/s auc {told['auc']:.4f}"
        if "auc" in told
        else f"{name} ERROR {told['error'].splitlines()[-1][:120]}"
        for name, told in found["systems"].items()
    ]
    return f"{found['model']:9} ratio {found.get('ratio', '-')} ({found.get('fastest_peer', '-')})  " + " | ".join(cells)


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that benchmarks.peers.data wrote")
    parser.add_argument("--peers", type=Path, required=True, help="folder of the environments (peers/install.sh)")
    parser.add_argument("--python", default=os.sys.executable, help="interpreter that has the project installed")  # type: ignore[attr-defined]
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--against", nargs="*", default=list(PEERS))
    parser.add_argument("--epochs", type=int, default=5, help="the first one warms up")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    labels = np.load(given.data / "test.npz")["label"]
    told = {"data": given.data.name, "batch": given.batch, "epochs": given.epochs, "machine": facts_of_machine()}
    told |= {"sgemm_gflops": gemm_gflops(given.core, given.batch), "tower_limit_rows_per_s": tower_limit(given.core, given.batch)}
    rows: list[dict[str, Any]] = []
    for model in given.models:
        rows.append(measure(model, given, labels))
        print(line(rows[-1]), flush=True)
        ratios = [row["ratio"] for row in rows if "ratio" in row]
        told["geometric_mean"] = round(float(np.exp(np.mean(np.log(ratios)))), 2) if ratios else None
        if given.out:
            given.out.write_text(json.dumps({**told, "models": rows}, indent=1) + "\n")
    print(told)


if __name__ == "__main__":
    main()
