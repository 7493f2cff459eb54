"""A DeepFM epoch over a stored feature set larger than the memory allowed: completes, and how much the process grows (Linux).

Growth is that of all resident memory (VmRSS) since torch was imported and has run once; the anonymous part (RssAnon) and the pages of files
(RssFile: libraries, and what of the data is mapped) are printed beside it. The limit ends the process by its anonymous memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from autorec_kernel.features import FeatureSet
from autorec_kernel.features.compute import Sides
from autorec_kernel.features.entities import Entities
from autorec_kernel.features.parts import Part
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings
from autorec_kernel.models.batches import Batches
from autorec_kernel.models.fit import fit
from autorec_kernel.models.network import build_network
from autorec_kernel.records.bags import Bags
from autorec_kernel.records.dataset import CLOCK, ORDER, Protocol
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Table
from autorec_kernel.records.vocabulary import Vocabulary

CHUNK, USERS, ITEMS, FIELDS, ROWS, NUMBERS, LONGEST = 100_000, 20_001, 5_001, 12, 10_001, 64, 32
ROW_BYTES = 8 * 8 + 4 + 4 * FIELDS + 4 * NUMBERS + 8 + 4 * 3
EVENTS = ("@user", "@item", "@user_key", "@item_key", "@positive", "@target", CLOCK, ORDER)


def chunks(rows: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop)."""
    return ((start, min(rows, start + CHUNK)) for start in range(0, rows, CHUNK))


def created(folder: Path, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Return an array on disk."""
    return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.dtype(kind), shape)  # type: ignore[no-any-return]


def bags(folder: Path, rows: int) -> Bags:
    """Write a multi-valued column of skewed lengths."""
    rng = np.random.default_rng(2)
    lengths = np.minimum(rng.zipf(1.8, rows), LONGEST) - 1
    offsets = created(folder, "offsets", (rows + 1,), np.int64)
    offsets[0] = 0
    np.cumsum(lengths, out=offsets[1:])
    values = created(folder, "values", (int(offsets[-1]),), np.int32)
    for start, stop in chunks(len(values)):
        values[start:stop] = rng.integers(1, ROWS, stop - start)
    return Bags(values, offsets, LONGEST)


def part(folder: Path, rows: int) -> Part:
    """Write random events whose label follows the user, one field and one number."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, tastes = np.random.default_rng(0), np.random.default_rng(1).normal(size=USERS)
    events = {name: created(folder, name, (rows,), np.int64) for name in EVENTS}
    values = {f"c{number}": created(folder, f"c{number}", (rows,), np.int32) for number in range(FIELDS)}
    numbers, label = created(folder, "numbers", (rows, NUMBERS), np.float32), created(folder, "label", (rows,), np.float32)
    for start, stop in chunks(rows):
        count = stop - start
        user, item = rng.integers(1, USERS, count), rng.integers(1, ITEMS, count)
        for name, column in {"@user": user, "@item": item, "@user_key": user, "@item_key": item}.items():
            events[name][start:stop] = column
        events["@positive"][start:stop] = events["@target"][start:stop] = 1
        events[CLOCK][start:stop] = events[ORDER][start:stop] = np.arange(start, stop)
        for column in values.values():
            column[start:stop] = rng.integers(1, ROWS, count)
        numbers[start:stop] = rng.standard_normal((count, NUMBERS), np.float32)
        logit = tastes[user] + 0.3 * (values["c0"][start:stop] % 7 - 3) + numbers[start:stop, 0]
        label[start:stop] = rng.random(count) < 1 / (1 + np.exp(-logit))
    return Part(Table(events, rows), {"label": label}, {**values, "numbers": numbers, "tags": bags(folder, rows)})


def write(folder: Path, rows: int) -> None:
    """Store the feature set."""
    fields = tuple(Feature(f"c{n}", "id", "row", vocabulary=f"c{n}", size=ROWS, family="id") for n in range(FIELDS))
    features = (
        Feature("user", "id", "user", vocabulary="user", size=USERS, family="id"),
        Feature("item", "id", "item", vocabulary="item", size=ITEMS, family="id"),
        *fields,
        Feature("numbers", "numeric", "row", width=NUMBERS, family="scale"),
        Feature("tags", "bag", "row", vocabulary="tags", size=ROWS, width=LONGEST, family="bag"),
    )
    schema = FeatureSchema(features, "user", "item", USERS, ITEMS, {"label": "logit"}, {"label": (0.0, 1.0, 0.5)}, rows, True)
    ids = [Vocabulary.of([f"{number:06}" for number in range(size - 1)]) for size in (USERS, ITEMS, 1, 1)]
    sides = Sides(Table({}, 0), Table({}, 0), ids[0], ids[1], "user", "item", "")
    static = {"user": np.arange(USERS, dtype=np.int32), "item": np.arange(ITEMS, dtype=np.int32)}
    parts = {"train": part(folder / "raw", rows), "valid": part(folder / "none", 0)}
    protocol = Protocol("temporal", "time", "rolling")
    found = FeatureSet(schema, "click", protocol, Schema(()), [], 0.0, Entities(*ids, "user", "item"), sides, (), static, parts, "large")
    found.save(folder / "set")
    for rest in ("raw", "none"):
        shutil.rmtree(folder / rest)


def resident() -> dict[str, float]:
    """Return megabytes of anonymous and file pages that are resident now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    names = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "file"}
    return {names[name]: int(line.split()[1]) * 1024 / 1e6 for line in lines if (name := line.split(":")[0]) in names}


class Watch(threading.Thread):
    """Looks at the process's memory twenty times a second, and ends the process above the limit."""

    def __init__(self, limit: float) -> None:
        super().__init__(daemon=True)
        self.limit, self.first, self.done = limit, resident(), threading.Event()
        self.most = dict(self.first)

    def run(self) -> None:
        """Look until told to stop."""
        while not self.done.wait(0.05):
            now = resident()
            self.most = {name: max(value, self.most[name]) for name, value in now.items()}
            if now["anonymous"] > self.limit:
                print(f"anonymous memory is {now['RssAnon']:.0f} MB, above the limit of {self.limit:.0f} MB", file=sys.stderr, flush=True)
                os._exit(1)

    def growth(self) -> dict[str, int]:
        """Stop, and return the largest growth in MB."""
        self.done.set()
        self.join()
        return {f"{name}_growth_mb": round(self.most[name] - self.first[name]) for name in self.most}


def train(folder: Path, limit_gib: float, batch: int, *, read_only: bool) -> None:
    """Run the epoch and print one JSON line."""
    torch.set_num_threads(1)
    torch.zeros(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]  # what torch itself takes
    size = sum(path.stat().st_size for path in (folder / "set").rglob("*.npy"))
    blueprint = Kernel.discover().create("blueprint", "zoo/deepfm")
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gib * 2**30),) * 2)
    watch, began, cpu = Watch(limit_gib * 2**30 / 1e6), time.monotonic(), time.process_time()
    watch.start()
    features = FeatureSet.load(folder / "set")
    network = build_network(blueprint.architecture(features.schema), features.schema, Kernel.discover())
    told: dict[str, object] = {"file_gb": round(size / 1e9, 2), "rows": features.schema.events, "batch": batch, "limit_gib": limit_gib}
    if read_only:
        told["batches"] = sum(1 for _ in Batches(network, features, batch).epoch(np.random.default_rng(0)))
    else:
        settings = FitSettings(batch_size=batch, epochs=1, patience=0)
        report = fit(network, features, settings, seed=np.random.SeedSequence(0), validate=None)
        told["loss"] = round(report.losses[0], 4)
    seconds = {"seconds": round(time.monotonic() - began), "cpu_seconds": round(time.process_time() - cpu)}
    print(json.dumps({**told, **watch.growth(), **seconds}), flush=True)


def main() -> None:
    """Write the file in a process of its own, then train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the file goes; it is removed at the end")
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--limit", type=float, default=1.5, help="GiB of anonymous memory")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--read", action="store_true", help="read the batches of an epoch without training")
    parser.add_argument("--stage", choices=("write", "train"))
    stated = parser.parse_args()
    if stated.stage == "write":
        write(stated.folder, int(stated.gigabytes * 1e9 / ROW_BYTES))
    elif stated.stage == "train":
        train(stated.folder, stated.limit, stated.batch, read_only=stated.read)
    else:
        try:
            for stage in ("write", "train"):
                subprocess.run([sys.executable, __file__, *sys.argv[1:], "--stage", stage], check=True)
        finally:
            shutil.rmtree(stated.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
