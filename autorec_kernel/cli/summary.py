"""What `autorec run` prints: the result in a screenful, or what a run would do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autorec_kernel.cli.output import emit, emit_table
from autorec_kernel.cli.progress import plain_text, span

__all__ = ["print_plan", "print_summary"]


def print_summary(result: Mapping[str, Any], data: str, folder: Path) -> None:
    """Print what was understood, how well the baselines and the served model do, and what to type next."""
    for line in _understood(result, data):
        emit(plain_text(line))
    emit("")
    metric = result["metric"]
    emit_table(("MODEL", f"VALID {metric}", f"TEST {metric}", "95 % INTERVAL", "SERVED MINUS THIS"), _rows(result, metric))
    tasks = _tasks(result)
    if tasks:
        emit("")
        emit_table(("TASK", "METRIC", "VALID", "TEST", "TEST, SERVED"), tasks)
    slices = _slices(result)
    if slices:
        emit("")
        emit_table(("SLICE OF THE TEST", "COUNT", f"SERVED {metric}", "BEST BASELINE", "WHICH"), slices)
    emit("")
    for line in (*_outcome(result, folder), f"next:      {_next(result, folder / 'bundle')}"):
        emit(plain_text(line))


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print what a run would do."""
    space, budget = plan["space"], plan["budget"]
    size = "unbounded" if space["size"] is None else f"{space['size']:,}"
    limit = f"{budget['trials']} trials" if budget["trials"] is not None else f"{budget['seconds']:g} s"
    facts = {
        "task": f"{plan['task']}, optimising {plan['metric']}",
        "protocol": f"{plan['protocol']['id']} ({plan['protocol']['reason']})",
        "rows": _counts(plan["rows"]),
        "strategy": f"{plan['strategy']}, {limit}, {plan['workers']} workers on {plan['device']}",
        "space": f"{space['preset']}, {space['genes']} genes, size {size}, {space['architectures']:,} discrete architectures",
        "limits": ", ".join(f"{name} {value:g}" for name, value in plan["limits"].items()) or "none",
    }
    for name, text in facts.items():
        emit(plain_text(f"{name + ':':<11}{text}"))
    emit("")
    emit_table(("FEATURE", "OF", "TAKEN", "REASON"), [_feature(row) for row in plan["features"]])
    emit("")
    emit_table(("BLUEPRINT", "ROLE", "WHY NOT"), [_blueprint(row) for row in plan["blueprints"]])
    for text in plan["notes"]:
        emit(plain_text(f"note: {text}"))


def _understood(result: Mapping[str, Any], data: str) -> list[str]:
    counts, protocol = result["data"], result["protocol"]
    return [
        f"data:      {data}: {_counts(counts['rows'])} rows; {counts['users']:,} users, {counts['items']:,} items",
        f"task:      {result['task']}, optimising {result['metric']} on the validation rows",
        f"protocol:  {protocol['id']} ({protocol['reason']})",
    ]


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())


def _rows(result: Mapping[str, Any], metric: str) -> list[tuple[str, ...]]:
    """Return a line for each baseline, for the chosen model and for what is served of it."""
    lines = []
    for name, row in result["baselines"].items():
        values = [_of(row[split], metric) if row[split] else row["status"] for split in ("valid", "test")]
        lines.append((f"baseline {name}", *values, "", _difference(row.get("served_minus_this"))))
    best, served = result["best"], result["compressed"]
    chosen = best["blueprint"] or f"trial {best['trial']}"
    lines.append((f"best {chosen}", _of(best["valid"], metric), _of(best["test"], metric), _interval(best["test_interval"]), ""))
    lines.append(("served (compressed)", "", _of(served["test"], metric), _interval(served["test_interval"]), ""))
    return lines


def _tasks(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a line for each metric of each task, where the data has several labels."""
    best, served = result["best"], result["compressed"]["test"]
    parts = [(name, *name.partition(":")[::2]) for name in best["test"] if ":" in name]
    return [(task, metric, *(_of(values, name) for values in (best["valid"], best["test"], served))) for name, metric, task in parts]


def _slices(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a line for each slice, where some users or items are new: what is served, and the baseline that does best there."""
    slices = result["compressed"].get("slices", {})
    if not any(name.startswith("new-") for name in slices):
        return []
    lower = result["metric"] in ("rmse", "mae", "log_loss")
    lines: list[tuple[str, ...]] = []
    for name, row in slices.items():
        known = {one: found["slices"][name]["value"] for one, found in result["baselines"].items() if name in found.get("slices", {})}
        values = {one: value for one, value in known.items() if value is not None}
        best = (min if lower else max)(values, key=lambda one: values[one], default=None)
        which = "all alike" if len(values) > 1 and len(set(values.values())) == 1 else best or ""
        lines.append((name.replace("-", " "), f"{row['count']:,}", _figure(row["value"]), _figure(values.get(best or "")), which))
    return lines


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _outcome(result: Mapping[str, Any], folder: Path) -> list[str]:
    sizes, took = result["compressed"]["bytes"], result["stages"]["total"]
    steps = result["compressed"]["steps"]
    late = sum("no time is left" in step["reason"] for step in steps)
    nothing = f"no step: there was no time to try {late} of them" if late else "no step paid off"
    taken = ", ".join(step["component"] for step in steps if step["taken"]) or nothing
    ended = ", ".join(f"{count} {status}" for status, count in result["trials"].items())
    paper = result["certificate"]
    return [
        f"verdict:   {result['verdict']}",
        f"model:     {result['best']['architecture']} (trial {result['best']['trial']})",
        f"size:      {_bytes(sizes['before'])} before compression, {_bytes(sizes['after'])} after ({taken})",
        *([f"loss:      {paper['verdict']}: {paper['metric']} {paper['gain'] or 0.0:+.2%} by compression"] if paper else []),
        f"trials:    {ended}; {span(took)} in all",
        f"bundle:    {folder / result['bundle']['path']} ({_bytes(result['bundle']['bytes'])}), result: {folder / 'result.json'}",
    ]


def _next(result: Mapping[str, Any], bundle: Path) -> str:
    user = _some_user(bundle) if result["data"]["items"] else None
    if user is None:
        return shlex.join(["autorec", "predict", str(bundle), "PAIRS.csv"])
    return shlex.join(["autorec", "recommend", str(bundle), "--user", user, "-k", "10"])


def _some_user(bundle: Path) -> str | None:
    """Return a user that the bundle knows; opening it verifies it."""
    from autorec_kernel.serving import Recommender

    known = Recommender.load(bundle).state.users
    return known.ids_of([1])[0] if known.size > 1 else None


def _of(metrics: Mapping[str, float | None], metric: str) -> str:
    return _figure(metrics.get(metric))


def _interval(span: Sequence[float] | None) -> str:
    return "" if span is None else f"{span[0]:.4f} to {span[1]:.4f}"


def _difference(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    interval = "" if found["low"] is None else f" ({found['low']:+.4f} to {found['high']:+.4f})"
    return f"{found['difference']:+.4f}{interval}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _feature(row: Mapping[str, Any]) -> tuple[str, ...]:
    config = row["config"]
    return row["op"], str(config.get("column") or config.get("entity") or ""), "yes" if row["taken"] else "no", plain_text(row["reason"])


def _blueprint(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["id"], "baseline" if row["baseline"] else "candidate", row["reason"]
