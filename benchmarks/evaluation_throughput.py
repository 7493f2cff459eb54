"""Full-ranking evaluation of all users: scoring, masking, top-k and metrics, against RecBole's default and its best batch size."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.client import PEERS, Worker
from benchmarks.peers.machine import facts_of_machine

BATCHES = {"BPR": (0, 40_960, 409_600, 4_096_000), "SASRec": (0, 512, 1024, 2048)}  # RecBole's `eval_batch_size`; 0 = as it comes
QUICK = (0, 1024, 409_600)


def main() -> None:
    """Measure in turns and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that benchmarks.peers.retrieval_data wrote")
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=8, help="the first two warm up")
    parser.add_argument("--quick", action="store_true", help="RecBole's default and the batch sizes near its best only")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    workers, found = {}, {}
    with tempfile.TemporaryDirectory() as work:
        common = {"data": str(given.data), "width": 64, "work": work}
        for model in ("BPR", "SASRec", "SASRec masked"):
            workers[f"ours {model}"] = Worker("ours", "ours_eval_worker.py", sys.executable, {**common, "model": model}, given.core)
        python = str(given.peers / PEERS["recbole"] / "bin" / "python")
        for model, batch in (
            (model, batch) for model, batches in BATCHES.items() for batch in batches if not given.quick or batch in QUICK
        ):
            options = {**common, "model": model, "batch": batch}
            name = f"recbole {model} {batch or 'default'}"
            workers[name] = Worker("recbole", "recbole_eval_worker.py", python, options, given.core)
        try:
            times: dict[str, list[float]] = {name: [] for name in workers}
            for _ in range(given.repeats):
                for name, worker in workers.items():
                    times[name].append(round(worker.epoch()["cpu_s"], 4))
            found = {name: _told(times[name], worker) for name, worker in workers.items()}
        finally:
            for worker in workers.values():
                worker.close()
    told = {"data": given.data.name, "machine": facts_of_machine(), "systems": found, **_ratios(found)}
    print(json.dumps(told, indent=1))
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


def _told(times: list[float], worker: Worker) -> dict[str, Any]:
    timed = times[2:] or times
    metrics = [round(value, 6) for value in np.asarray(worker.scores()).tolist()]
    return {"cpu_s": timed, "median_cpu_s": statistics.median(timed), "ndcg_recall_hit_mrr": metrics, **worker.facts}


def _ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Return, for each of ours, the ratios to RecBole's default and to its best batch size."""
    ratios: dict[str, Any] = {}
    for name in [name for name in found if name.startswith("ours")]:
        peers = {peer: told["median_cpu_s"] for peer, told in found.items() if peer.startswith(f"recbole {name.split()[1]} ")}
        best, own = min(peers, key=lambda peer: peers[peer]), found[name]["median_cpu_s"]
        default = peers[f"recbole {name.split()[1]} default"]
        ratios[name] = {"best_peer": best, "to_default": round(default / own, 2), "to_best": round(peers[best] / own, 2)}
    return {"ratios": ratios}


if __name__ == "__main__":
    main()
