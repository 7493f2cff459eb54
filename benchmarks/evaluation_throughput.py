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

BATCHES = (0, 400_000, 6_400_000)  # RecBole's `eval_batch_size`; 0 = as it comes


def main() -> None:
    """Measure in turns and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that benchmarks.peers.retrieval_data wrote")
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=4, help="the first one warms up")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    workers, found = {}, {}
    with tempfile.TemporaryDirectory() as work:
        common = {"data": str(given.data), "width": 64, "work": work}
        for model in ("BPR", "SASRec"):
            workers[f"ours {model}"] = Worker("ours", "ours_eval_worker.py", sys.executable, {**common, "model": model}, given.core)
        python = str(given.peers / PEERS["recbole"] / "bin" / "python")
        for batch in BATCHES:
            options = {**common, "model": "BPR", "batch": batch}
            workers[f"recbole {batch or 'default'}"] = Worker("recbole", "recbole_eval_worker.py", python, options, given.core)
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
    timed = times[1:] or times
    metrics = [round(value, 6) for value in np.asarray(worker.scores()).tolist()]
    return {"cpu_s": timed, "median_cpu_s": statistics.median(timed), "ndcg_recall_hit_mrr": metrics, **worker.facts}


def _ratios(found: dict[str, Any]) -> dict[str, Any]:
    peers = {name: told["median_cpu_s"] for name, told in found.items() if name.startswith("recbole")}
    best = min(peers, key=lambda name: peers[name])
    ours = {name: told["median_cpu_s"] for name, told in found.items() if name.startswith("ours")}
    return {
        "best_peer": best,
        "ratio_to_default": {name: round(peers["recbole default"] / value, 1) for name, value in ours.items()},
        "ratio_to_best": {name: round(peers[best] / value, 1) for name, value in ours.items()},
    }


if __name__ == "__main__":
    main()
