"""Training throughput of retrievers against RecBole: scored positions, pairs or users a CPU second, loading of batches included.

RecBole turns every prefix of a history into a row and scores one position of it; ours scores every position of a window at once. Both
are counted by what their loss scores. RecBole runs at the same batch in scored positions and at others; the fastest is compared.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.client import PEERS, Worker
from benchmarks.peers.machine import facts_of_machine
from benchmarks.peers.sequence_models import MODELS

OURS = "ours"


def main() -> None:
    """Measure in turns and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that benchmarks.peers.retrieval_data wrote")
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=4, help="the first one warms up")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for model in given.models:
        machine = facts_of_machine()
        found[model] = {**measured(given, model), "load_before": machine["load"], "load_after": facts_of_machine()["load"]}
        print(model, json.dumps({name: value for name, value in found[model].items() if name != "systems"}), flush=True)
        told = _together(given.data.name, found)
        if given.out:
            given.out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps({name: told[name] for name in ("geometric_mean", "smallest")}))


def _together(data: str, found: dict[str, Any]) -> dict[str, Any]:
    ratios = [told["ratio"] for told in found.values()]
    whole = len(found) == len(MODELS)  # a mean of some of the models says nothing
    mean = round(math.exp(statistics.fmean(map(math.log, ratios))), 2) if whole else None
    return {"data": data, "machine": facts_of_machine(), "geometric_mean": mean, "smallest": min(ratios), "models": found}


def measured(given: argparse.Namespace, model: str) -> dict[str, Any]:
    """Return the figures of one model: ours and the peer in turns, on one core."""
    workers: dict[str, Worker] = {}
    python = str(given.peers / PEERS["recbole"] / "bin" / "python")
    with tempfile.TemporaryDirectory() as work:
        common = {"data": str(given.data.resolve()), "work": work, "model": model, **MODELS[model].options}
        try:
            workers[OURS] = Worker(OURS, "ours_sequence_worker.py", sys.executable, common, given.core)
            for batch in MODELS[model].batches:
                options = {**common, "batch": batch}
                workers[f"recbole {batch}"] = Worker("recbole", "recbole_sequence_worker.py", python, options, given.core)
            calls: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
            for _ in range(given.repeats):
                for name, worker in workers.items():
                    calls[name].append(_call(worker))
            systems = {name: _told(calls[name], worker) for name, worker in workers.items()}
        finally:
            for worker in workers.values():
                worker.close()
    return {"unit": MODELS[model].unit, **_compared(systems), "systems": systems}


def _call(worker: Worker) -> dict[str, float]:
    """Return one timed call: CPU seconds, what was scored, and the mean loss."""
    seconds = worker.epoch()["cpu_s"]
    scored, batches, loss = worker.scores().tolist()
    return {"cpu_s": round(seconds, 4), "scored": scored, "batches": batches, "loss": round(loss, 4)}


def _told(calls: list[dict[str, float]], worker: Worker) -> dict[str, Any]:
    timed = calls[1:] or calls
    rates = [round(call["scored"] / call["cpu_s"], 1) for call in timed]
    return {"per_cpu_s": statistics.median(rates), "rates": rates, "calls": timed, **worker.facts}


def _compared(systems: dict[str, Any]) -> dict[str, Any]:
    """Return the ratio of medians to the peer's fastest batch, and the smallest and largest ratio of any two calls."""
    best = max((name for name in systems if name != OURS), key=lambda name: float(systems[name]["per_cpu_s"]))
    ours, peer = systems[OURS]["rates"], systems[best]["rates"]
    return {
        "ours": systems[OURS]["per_cpu_s"],
        "recbole": systems[best]["per_cpu_s"],
        "best_peer": best,
        "ratio": round(systems[OURS]["per_cpu_s"] / systems[best]["per_cpu_s"], 2),
        "spread": [round(min(ours) / max(peer), 2), round(max(ours) / min(peer), 2)],
    }


if __name__ == "__main__":
    main()
