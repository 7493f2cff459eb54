"""Cost of the search loop itself: a null evaluator in this process, random proposals; milliseconds and bytes a trial."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Cost, Evaluation
from autorec_kernel.search.genes import assemble_space, offers
from autorec_kernel.search.inprocess import run_here
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.loop import Search
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.space import Genotype
from autorec_kernel.testing.data import tiny_dataset


def null(task: Task) -> Evaluation:
    """Judge a genotype by its digest."""
    digest = Genotype(task.genotype).digest
    value, cost = int(digest[:8], 16) / 2**32, int(digest[8:], 16) / 2**32
    return Evaluation("complete", {"ndcg@10": value * task.share}, Cost(100, int(1000 * cost), 1.0 + cost, 1.0), details={"epochs": 1})


def searching(folder: Path, trials: int) -> Callable[[Journal], Search]:
    """Return a function that makes a search on the space that the installed plugins span over a small data set."""
    kernel = Kernel.discover()
    schema = build_features(tiny_dataset(), kernel).schema
    fitting = offers(kernel, "recommend", schema)
    space = assemble_space(kernel, fitting, schema, "training/full")
    settings = SearchSettings(str(folder), "recommend", "ndcg@10", True, trials=trials)

    def make(journal: Journal) -> Search:
        session = kernel.create("search-strategy", "search/random").start(space, ["ndcg@10"])
        return Search(kernel, space, schema, session, run_here(null), journal, settings, fitting, lambda genotype: 1.0)

    return make


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = searching(folder, trials)
        seconds = {}
        for what in ("search", "replay"):
            with Journal.open(folder / "journal.jsonl") as journal:
                began = time.perf_counter()
                count = len(make(journal).run().trials)
                seconds[what] = time.perf_counter() - began
        size = (folder / "journal.jsonl").stat().st_size
    told = {f"{what}_ms_per_trial": round(spent / count * 1e3, 3) for what, spent in seconds.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"trials": count, **told, "journal_bytes_per_trial": round(size / count), "peak_mib": peak}))


if __name__ == "__main__":
    main()
