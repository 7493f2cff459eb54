"""Seconds and memory of `build_features` with the full automatic plan on one core: MovieLens-1M, or synthetic rows written as Parquet.

Memory is the largest resident size while features are built (VmHWM, reset before), and the anonymous part of it, sampled; what
`open_dataset` holds is part of both and told beside them. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.data import open_dataset
from autorec_kernel.features import build_features, feature_ops
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset

CHUNK = 500_000
MIB = 1024.0
_SHORT = 0.01  # seconds below which an estimate is not looked at


def movielens(folder: Path) -> Dataset:
    """Return MovieLens-1M as clicks by its position clock."""
    events, users, items = (folder / f"{name}.csv.gz" for name in ("ratings", "users", "items"))
    return open_dataset(events, users=users, items=items, task="click", protocol="leave-one-out", positive_threshold=4)


def synthetic(folder: Path, rows: int) -> Dataset:
    """Write clicks of rows/50 users on rows/200 items over a year, with side tables and three context columns, and open them."""
    users, items = max(rows // 50, 10), max(rows // 200, 10)
    rng = np.random.default_rng(0)
    lenient, good = rng.normal(size=users), rng.normal(size=items)
    _write_sides(folder, users, items, rng)
    with pq.ParquetWriter(folder / "events.parquet", _EVENTS) as writer:
        for start in range(0, rows, CHUNK):
            writer.write_table(_events(start, min(CHUNK, rows - start), rows, lenient, good, rng))
    return open_dataset(
        folder / "events.parquet",
        users=folder / "users.parquet",
        items=folder / "items.parquet",
        task="click",
        protocol="temporal",
        roles={"user_id": "user", "item_id": "item", "click": "label", "timestamp": "time"},
    )


def _events(start: int, count: int, rows: int, lenient: np.ndarray, good: np.ndarray, rng: np.random.Generator) -> pa.Table:
    user = (len(lenient) * rng.random(count) ** 2).astype(np.int64)
    item = (len(good) * rng.random(count) ** 3).astype(np.int64)
    device = rng.integers(0, 5, count)
    chance = 1 / (1 + np.exp(-(lenient[user] + good[item] + 0.2 * device - 1)))
    columns = {
        "user_id": [f"u{number}" for number in user],
        "item_id": [f"i{number}" for number in item],
        "click": (rng.random(count) < chance).astype(np.int64),
        "timestamp": 1_600_000_000 + (np.arange(start, start + count) * (365 * 86_400 / rows)).astype(np.int64),
        "device": [f"d{number}" for number in device],
        "place": [f"p{number}" for number in rng.integers(0, 1000, count)],
        "price": rng.lognormal(size=count),
    }
    return pa.table(columns, schema=_EVENTS)


def _write_sides(folder: Path, users: int, items: int, rng: np.random.Generator) -> None:
    person = {
        "user_id": [f"u{number}" for number in range(users)],
        "age": rng.integers(15, 80, users),
        "country": [f"c{number}" for number in rng.integers(0, 60, users)],
    }
    tags = rng.integers(0, 40, (items, 3))
    thing = {
        "item_id": [f"i{number}" for number in range(items)],
        "brand": [f"b{number}" for number in rng.integers(0, 500, items)],
        "tags": ["|".join(f"t{number}" for number in sorted(set(row))) for row in tags],
        "year": rng.integers(1980, 2020, items),
    }
    for name, table in (("users", person), ("items", thing)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")


def measure(dataset: Dataset, folder: Path, budget: float | None) -> dict[str, Any]:
    """Build the features into a folder and return seconds, memory and the plan, the dearest op first."""
    ops, estimates = _watching(feature_ops(Kernel.discover()))
    opened = _status("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    with _watched() as peak:
        features = build_features(dataset, ops, task="click", folder=folder, budget_seconds=budget)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    taken = sorted(features.plan, key=lambda row: -float(row["seconds"]))
    return {
        "rows": dataset.train.rows + dataset.valid.rows + dataset.test.rows,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "mib_after_open": opened,
        "mib_peak": peak["VmHWM"],
        "mib_peak_anonymous": peak["RssAnon"],
        "features": len(features.schema.features),
        "seconds_outside_ops": round(wall - sum(float(row["seconds"]) for row in taken), 2),
        "load": round(os.getloadavg()[0], 1),
        "ops": [_told(row, estimates) for row in taken],
    }


def _told(row: dict[str, Any], estimates: Mapping[str, FeatureProposal]) -> dict[str, Any]:
    found = {**_named(row["op"], row["config"]), "seconds": row["seconds"], "bytes": row["bytes"]}
    estimate = estimates[json.dumps(_named(row["op"], row["config"]))]
    found |= {"estimated_seconds": round(estimate.seconds, 4), "estimated_bytes": estimate.bytes}
    return found if row["taken"] else {**found, "left_out": row["reason"]}


def _named(op: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": op, **{key: config[key] for key in ("column", "columns", "keys", "entity", "source") if config.get(key)}}


def _watching(ops: Mapping[str, type[Any]]) -> tuple[dict[str, type[Any]], dict[str, FeatureProposal]]:
    """Return the ops, and a mapping that holds what they proposed once they were asked."""
    found: dict[str, FeatureProposal] = {}

    def watched(name: str, kind: type[Any]) -> type[Any]:
        def propose(_: type[Any], profile: DataProfile) -> Iterator[FeatureProposal]:
            for proposal in kind.propose(profile):
                found[json.dumps(_named(name, proposal.config.model_dump(mode="json")))] = proposal
                yield proposal

        return type(kind.__name__, (kind,), {"propose": classmethod(propose)})

    return {name: watched(name, kind) for name, kind in ops.items()}, found


def print_estimates(line: Mapping[str, Any]) -> None:
    """Print measured over estimated seconds and bytes of every op that took a hundredth of a second, the furthest off first."""
    rows = [row for row in line["ops"] if "left_out" not in row and row["seconds"] >= _SHORT]
    for row in sorted(rows, key=lambda row: -abs(math.log(row["seconds"] / row["estimated_seconds"]))):
        size = row["bytes"] / max(row["estimated_bytes"], 1)
        what = " ".join(str(row[key]) for key in ("column", "columns", "keys", "entity") if key in row)
        print(f"{row['op']:22s} {what[:44]:44s} {row['seconds']:9.3f} s x{row['seconds'] / row['estimated_seconds']:5.2f}", end="")
        print(f" {row['bytes'] / 1e6:9.1f} MB x{size:5.2f}")


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Yield a mapping that holds the peaks in MiB once the block has ended."""
    found, done = {"VmHWM": 0.0, "RssAnon": 0.0}, threading.Event()
    Path("/proc/self/clear_refs").write_text("5")

    def watch() -> None:
        while not done.wait(0.02):
            found["RssAnon"] = max(found["RssAnon"], _status("RssAnon"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found["VmHWM"] = _status("VmHWM")


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return round(int(line.split()[1]) / MIB, 1)


_TEXTS, _WHOLE = ("user_id", "item_id", "device", "place"), ("click", "timestamp")
_ORDER = ("user_id", "item_id", "click", "timestamp", "device", "place", "price")
_EVENTS = pa.schema([(name, pa.string() if name in _TEXTS else pa.int64() if name in _WHOLE else pa.float64()) for name in _ORDER])


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--movielens", type=Path, help="folder of MovieLens-1M")
    source.add_argument("--rows", type=int, help="synthetic rows")
    parser.add_argument("--budget", type=float, help="seconds for the plan; default: no limit")
    parser.add_argument("--out", type=Path, help="file to which the line is added")
    parser.add_argument("--estimates", action="store_true", help="also print measured over estimated seconds and bytes of every op")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dataset = movielens(given.movielens) if given.movielens else synthetic(Path(folder), given.rows)
        opened = round(time.perf_counter() - start, 2)
        found = {"data": "ml-1m" if given.movielens else "synthetic", "open_seconds": opened}
        measured = {**found, **measure(dataset, Path(folder) / "features", given.budget)}
    line = json.dumps(measured)
    print(line)
    if given.estimates:
        print_estimates(measured)
    if given.out:
        with given.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
