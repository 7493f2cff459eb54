"""`autorec status`: how a run stands, read from its folder; nothing is locked or changed, so it works while the run goes on."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.output import emit, emit_json
from autorec_kernel.errors import UsageError

__all__ = ["read_status", "status"]

_WORK = ("batch", "result", "told", "skipped")  # kinds of record that say that the search went on
_RESULTS = ("result.json", "search.json", "refresh.json")  # what a run, a search alone and a refresh write last


def status(
    run: Annotated[str, typer.Argument(help="Folder of the run (what --out named).", metavar="RUN")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the state of a run, its trials by status, the best so far and how to go on."""
    found = read_status(Path(run))
    emit_json(found) if as_json else _print(found)


def read_status(folder: Path) -> dict[str, Any]:
    """Return how a run stands, as JSON values.

    Raises:
        UsageError: There is no run in the folder.
        InfrastructureError: Its journal is damaged or cannot be read.
    """
    from autorec_kernel.search.journal import read_journal

    journal = folder / "journal.jsonl"
    if not journal.is_file():
        raise UsageError(
            "there is no run in this folder: it has no journal.jsonl", where=str(folder), hint="name the folder given as --out"
        )
    records = read_journal(journal)
    writer = _writer(journal)
    path, result = _result(folder, records)
    header = next((record for record in records if record["kind"] == "run"), {})
    metric = _metric(header)
    state = "running" if writer else "finished" if result else "interrupted"
    return {
        "run": str(folder),
        "state": state,
        "writer": writer,
        "task": header.get("recipe", {}).get("task"),
        "metric": metric or None,
        "protocol": header.get("protocol"),
        "seconds": round(_seconds(records, state == "running"), 1),
        "last_record_seconds_ago": round(max(0.0, time.time() - journal.stat().st_mtime), 1),
        "trials": _trials(records, result),
        "problems": _problems(records),
        "best": _best(records, metric),
        "result": str(path) if result else None,
        "bundle": str(folder / result.get("bundle", {}).get("path", "bundle")) if result and path.name == _RESULTS[0] else None,
        "resume": f"autorec {'run' if 'data' in header else 'search'} … --out {folder} --resume" if state == "interrupted" else None,
    }


def _writer(journal: Path) -> dict[str, Any] | None:
    """Return who writes the journal, if its note is there and its process lives; on another machine the note is all there is."""
    try:
        note = json.loads(journal.with_name(journal.name + ".owner").read_bytes())
        pid, host, since = int(note["pid"]), str(note["host"]), str(note["since"])
        begun = datetime.fromisoformat(since).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"pid": pid, "host": host, "since": since} if host != socket.gethostname() or _lives(pid, begun) else None


def _lives(pid: int, begun: float) -> bool:
    """Return whether a process lives that is not younger than its note: process ids are used again."""
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= begun + 2)
    except psutil.Error:
        return False


def _result(folder: Path, records: Sequence[Mapping[str, Any]]) -> tuple[Path, dict[str, Any] | None]:
    """Return the file of a finished run's result and what it holds; None when the search went on after it was written."""
    path = next((folder / name for name in _RESULTS if (folder / name).is_file()), folder / _RESULTS[0])
    kinds = [record["kind"] for record in records]
    if "finished" not in kinds or any(kind in _WORK for kind in kinds[len(kinds) - kinds[::-1].index("finished") :]):
        return path, None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return path, None
    return path, found if isinstance(found, dict) else None


def _metric(header: Mapping[str, Any]) -> str:
    from autorec_kernel.evaluation.metrics import DEFAULT_METRICS

    recipe = header.get("recipe", {})
    return str(recipe.get("metric") or DEFAULT_METRICS.get(recipe.get("task", ""), ""))


def _seconds(records: Sequence[Mapping[str, Any]], running: bool) -> float:
    """Return the seconds that all sessions used, without those that were killed: they left no note."""
    ended = max((float(record.get("elapsed", 0.0)) for record in records if record["kind"] == "session_ended"), default=0.0)
    started = [record for record in records if record["kind"] == "session_started"]
    if not running or not started:
        return ended
    return max(ended, float(started[-1].get("spent", 0.0)) + time.time() - float(started[-1].get("time", time.time())))


def _last(records: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return trial → its evaluation at the highest rung it reached."""
    found = sorted((record for record in records if record["kind"] == "result"), key=lambda record: int(record["rung"]))
    return {record["trial"]: record["evaluation"] for record in found}


def _trials(records: Sequence[Mapping[str, Any]], result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Count trials; while the search goes on, one that a later rung may still stop counts as complete."""
    proposed = {row["trial"] for record in records if record["kind"] == "batch" for row in record["proposals"]}
    ended = _last(records)
    counts = dict(sorted(Counter(str(one["status"]) for one in ended.values()).items()))
    stated = result.get("trials") if result else None
    by_status = stated if isinstance(stated, dict) else counts
    return {"proposed": len(proposed), "ended": len(ended), "waiting": len(proposed - ended.keys()), "by_status": by_status}


def _problems(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the most frequent reasons why trials did not complete."""
    ended = [one for one in _last(records).values() if one["status"] not in ("complete", "stopped")]
    counts = Counter((str(one["status"]), _last_line(str(one.get("error", "")))) for one in ended)
    return [{"status": kind, "reason": reason, "trials": count} for (kind, reason), count in counts.most_common(5)]


def _best(records: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Return the complete result with the best validation metric; of equal ones the earliest, as the search does."""
    rows = [record for record in records if record["kind"] == "result" and record["evaluation"]["status"] == "complete"]
    rows = [record for record in rows if isinstance(record["evaluation"]["metrics"].get(metric), int | float)]
    if not rows:
        return None
    sign = _sign(metric)
    best = max(rows, key=lambda record: sign * record["evaluation"]["metrics"][metric])
    found = best["evaluation"]
    return {
        "trial": best["trial"],
        "rung": best["rung"],
        "value": found["metrics"][metric],
        "metrics": found["metrics"],
        "blueprint": found.get("details", {}).get("blueprint"),
        "cost": found.get("cost"),
    }


def _sign(metric: str) -> float:
    from autorec_kernel.errors import AutoRecError
    from autorec_kernel.evaluation.metrics import parse_metric

    try:
        return 1.0 if parse_metric(metric)[0].higher_is_better else -1.0
    except AutoRecError:
        return 1.0


def _print(found: Mapping[str, Any]) -> None:
    writer = found["writer"]
    where = f" (process {writer['pid']} on {writer['host']} since {writer['since']})" if writer else ""
    emit(f"{found['run']}: {found['state']}{where}")
    if found["task"]:
        emit(f"task {found['task']}, metric {found['metric']}, protocol {found['protocol']}")
    trials = found["trials"]
    counts = ", ".join(f"{count} {name}" for name, count in trials["by_status"].items())
    emit(f"trials: {trials['ended']} of {trials['proposed']} proposed have ended" + (f" ({counts})" if counts else ""))
    for problem in found["problems"]:
        emit(f"  {problem['trials']} {problem['status']}: {problem['reason']}".rstrip(": "))
    best = found["best"]
    if best:
        named = f", {best['blueprint']}" if best["blueprint"] else ""
        emit(f"best so far: {found['metric']} {best['value']:.4f} on the validation rows (trial {best['trial']}{named})")
    emit(f"time used: {found['seconds']:g} s; last record {found['last_record_seconds_ago']:g} s ago")
    _print_ways(found)


def _print_ways(found: Mapping[str, Any]) -> None:
    if found["bundle"]:
        emit(f"bundle: {found['bundle']}")
    if found["resume"]:
        emit(f"go on with the command that started it and --resume: {found['resume']}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return "".join(letter if letter.isprintable() else "�" for letter in lines[-1][:160]) if lines else ""
