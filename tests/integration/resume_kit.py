"""Starting runs, killing them, and comparing what they leave with what an undisturbed run leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from autorec_kernel.records.table import Coded
from autorec_kernel.search.journal import compare, read_journal
from autorec_kernel.testing.data import tiny_events

__all__ = ["SCOPES", "Campaign", "Scope", "campaign", "differences", "kill", "orphans", "run_once", "start", "write_table"]

CHILD = Path(__file__).with_name("run_child.py")
Scope = Literal["group", "main", "worker"]
SCOPES: tuple[Scope, ...] = ("group", "main", "worker")
_LIMIT = 300.0  # seconds after which a run counts as hung
_MARK = "AUTOREC_TEST_RUN"  # environment variable that everything a run starts inherits
_PATIENCE = 5.0  # seconds that workers may live on after their run


def write_table(path: Path) -> Path:
    """Write 480 events with a planted structure as CSV."""
    events = tiny_events()
    users, items = events["user_id"], events["item_id"]
    assert isinstance(users, Coded) and isinstance(items, Coded)
    rating, seconds = events["rating"], events["timestamp"]
    rows = [
        f"{users.values[users.codes[k]]},{items.values[items.codes[k]]},{int(rating[k])},{int(seconds[k]) // 10**9}"  # type: ignore[index]
        for k in range(events.rows)
    ]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


def start(out: Path, table: Path, **order: Any) -> subprocess.Popen[bytes]:
    """Start a run (or go on with it) in a process group of its own; its errors go to `<out>.stderr`."""
    told = json.dumps({"workers": 1, "trials": 6, **order, "out": str(out), "table": str(table)})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", _MARK: str(out)}
    with open(f"{out}.stderr", "ab") as errors:
        return subprocess.Popen([sys.executable, str(CHILD), told], stderr=errors, env=environment, start_new_session=True)


def run_once(out: Path, table: Path, **order: Any) -> int:
    """Run to the end; return the exit code, minus the signal number if it was killed."""
    process = start(out, table, **order)
    try:
        return process.wait(_LIMIT)
    finally:
        kill(process, "group")


def kill(process: subprocess.Popen[bytes], scope: Scope) -> bool:
    """Send SIGKILL to the run and all it has started, to the run only, or to one of its workers; return whether anything was hit."""
    try:
        main = psutil.Process(process.pid)
        below = main.children(recursive=True)
    except psutil.Error:
        return False
    if scope == "worker":
        workers = [child for child in below if _is_worker(child)]
        for child in workers[:1]:
            child.kill()
        return bool(workers)
    hit = process.poll() is None
    for one in (main, *below) if scope == "group" else (main,):
        try:
            one.kill()
        except psutil.Error:
            hit = hit and one is not main
    process.wait(30)
    return hit


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "autorec_workers" in " ".join(process.cmdline()) and "guard" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


@dataclass(slots=True)
class Campaign:
    """What happened on the way: when which scope was killed (seconds after the start), and what was lost or left over."""

    runs: list[Path] = field(default_factory=list)
    kills: list[tuple[Scope, float]] = field(default_factory=list)
    sessions: int = 0
    lost: int = 0
    orphans: int = 0


def campaign(
    root: Path, table: Path, *, kills: int, seed: int, length: float, scopes: tuple[Scope, ...] = SCOPES, **order: Any
) -> Campaign:
    """Kill runs at random moments until `kills` have hit one; every run is resumed until it ends.

    Args:
        root: Gets one folder a run: `0`, `1`, ….
        length: Seconds of an undisturbed run; moments are drawn from its first two thirds, so that a run is hit more than once.
    """
    rng, found = random.Random(seed), Campaign()
    while len(found.kills) < kills:
        out = root / str(len(found.runs))
        found.runs.append(out)
        code = -1
        while code != 0:
            code = _session(out, table, rng, found, kills, length, scopes, order)
            assert code in (0, -signal.SIGKILL), f"{out}: exit code {code}: {Path(f'{out}.stderr').read_text()[-2000:]}"
    return found


def _session(
    out: Path, table: Path, rng: random.Random, found: Campaign, kills: int, length: float, scopes: tuple[Scope, ...], order: dict[str, Any]
) -> int:
    before = _results(out)
    scope, moment = rng.choice(scopes), rng.uniform(0.05, 0.67) * length
    process, began = start(out, table, **order), time.monotonic()
    try:
        if len(found.kills) < kills:
            while process.poll() is None and time.monotonic() - began < moment:
                time.sleep(0.01)
            while process.poll() is None and scope == "worker" and not kill(process, scope):
                time.sleep(0.01)
            if process.poll() is None and (scope == "worker" or kill(process, scope)):
                found.kills.append((scope, round(moment, 2)))
        code = process.wait(_LIMIT)
    finally:
        kill(process, "group")
    found.sessions += 1
    found.lost += len(before - _results(out))
    found.orphans += orphans(out)
    return code


def orphans(out: Path) -> int:
    """Return how many processes of a run are alive 5 s after its end, and end them."""
    ends = time.monotonic() + _PATIENCE
    left = [one for one in psutil.process_iter() if _of_run(one, out)]
    while left and time.monotonic() < ends:
        time.sleep(0.05)
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in left:
        one.kill()
    return len(left)


def _of_run(process: psutil.Process, out: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == str(out)
    except psutil.Error:
        return False


def _results(out: Path) -> set[tuple[int, int, str]]:
    journal = out / "journal.jsonl"
    if not journal.exists():
        return set()
    return {(r["trial"], r["rung"], json.dumps(r["evaluation"])) for r in read_journal(journal) if r["kind"] == "result"}


def differences(one: Path, other: Path) -> list[str]:
    """Return in what two finished runs differ: journals, result without times, bundle, files that are left."""
    found = list(compare(one / "journal.jsonl", other / "journal.jsonl"))
    first, second = (_result(folder) for folder in (one, other))
    found += [
        f"result.json: {key}: {first.get(key)} against {second.get(key)}" for key in first | second if first.get(key) != second.get(key)
    ]
    mine, theirs = (_files(folder) for folder in (one, other))
    return found + [f"only one run has {name}" for name in sorted(mine ^ theirs)]


def _result(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    result["compressed"]["latency_ms"] = None
    result["certificate"].pop("measured", None)
    for step in result["compressed"]["steps"]:
        step.pop("measured", None)
    return {key: value for key, value in result.items() if key not in ("stages", "recipe")}


def _files(folder: Path) -> set[str]:
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {
        name for name in left if not name.startswith(("quarantine", "journal.jsonl.", "log.jsonl", "artefacts/stderr-", "artefacts/solve-"))
    }
