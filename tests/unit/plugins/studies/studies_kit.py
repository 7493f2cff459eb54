"""Small searches, and journals that were changed on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.errors import InterruptedRun
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run as run_road
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import Journal, read_journal
from autorec_kernel.stages.workplace import Silent

__all__ = ["KERNEL", "chain", "changed", "ended", "recipe", "searched", "write_table"]

KERNEL = Kernel.discover(blocked=("workers",))
_FRAME = ("v", "seq", "crc", "kind")


class _UntilTheEnd(Silent):
    """A user who stops a run as soon as its search has ended: what comes after takes longest."""

    def stage(self, name: str, text: str) -> None:
        if name == "evaluate":
            raise KeyboardInterrupt


def write_table(path: Path) -> Path:
    """Write 600 events of 40 users and 30 items as CSV."""
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, 40, 600), (rng.integers(0, 30, 600) ** 2) // 30
    rows = [f"u{u},i{i},{1 + (u + i) % 5},{1_600_000_000 + 60 * n}" for n, (u, i) in enumerate(zip(users, items, strict=True))]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


def chain(path: Path) -> Path:
    """Write 1200 events of 40 users who go through 30 items in one order, each from a place of its own."""
    events = [(60 * (40 * step + user), user, (7 * user + step) % 30) for step in range(30) for user in range(40)]
    rows = [f"u{user},i{item},3,{1_600_000_000 + seconds}" for seconds, user, item in sorted(events)]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


def ended(run: Path) -> dict[str, Any]:
    """Write of the result of a run what a refresh reads, with all that trained in full as its front; return it."""
    records = read_journal(run / "journal.jsonl")
    rows = [row for record in records if record["kind"] == "batch" for row in record["proposals"]]
    metrics = {record["trial"]: record["evaluation"]["metrics"]["ndcg@10"] for record in records if record["kind"] == "result"}
    baselines = {row["reason"].removeprefix("baseline "): {"trial": row["trial"]} for row in rows if row["reason"].startswith("baseline")}
    others = [{"trial": row["trial"]} for row in rows if row["genotype"]["retriever"] in ("zoo/mf", "zoo/dssm")][:2]
    result = {"front": others, "best": {"trial": max(metrics, key=lambda number: metrics[number])}, "baselines": baselines}
    (run / "result.json").write_text(json.dumps(result))
    return result


def recipe(**told: Any) -> Recipe:
    """Return the recipe of a small search in which two of three candidates train by gradient."""
    base = {
        "trials": 5,
        "strategy": "random",
        "blueprints": ("zoo/mf", "zoo/dssm"),
        "evaluator_options": {"epochs": 2},
        "features": "raw",
        "device": "cpu",
        "seed": 3,
    }
    return Recipe(**{**base, **told})


def searched(folder: Path, table: Path, *, kernel: Kernel = KERNEL, resume: bool = False, **told: Any) -> Path:
    """Run a search and nothing after it; return its folder."""
    try:
        run_road(table, recipe(**told), kernel, folder, resume=resume, reporter=_UntilTheEnd())
    except InterruptedRun:
        return folder
    raise AssertionError("the run was not interrupted")


def changed(run: Path, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Path:
    """Write the journal of a run to a new folder with its records changed; None leaves one out."""
    folder.mkdir()
    with Journal.open(folder / "journal.jsonl", fsync_each=False) as journal:
        for record in read_journal(run / "journal.jsonl"):
            now = change(record)
            if now is not None:
                journal.append(now["kind"], **{key: value for key, value in now.items() if key not in _FRAME})
    return folder
