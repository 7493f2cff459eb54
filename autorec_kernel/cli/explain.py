"""What `autorec features` prints: features by family, the plan with its reasons, and what the audit looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autorec_kernel.cli.output import emit, emit_table
from autorec_kernel.cli.progress import plain_text

__all__ = ["print_features"]

_FEW = 4  # columns that are named; of more their number
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def print_features(found: Mapping[str, Any]) -> None:
    """Print an explanation: families, plan, features, what was left out and what a number of features is worth, audit."""
    taken = [row for row in found["plan"] if row["taken"]]
    size = sum(row.get("bytes", 0) for row in taken)
    emit(
        f"{len(found['features'])} features of {len(taken)} ops for task {found['task']}, {found['seconds']:.2f} s, {_size(size)}; "
        f"{(left := len(found['plan']) - len(taken))} {'proposal' if left == 1 else 'proposals'} left out"
    )
    emit("")
    emit_table(("FAMILY", "FEATURES", "STATIC", "POINT IN TIME"), list(_families(found["features"])))
    emit("")
    emit_table(("OP", "OF", "TAKEN", "SECONDS", "BYTES", "REASON"), [_planned(row) for row in found["plan"]])
    emit("")
    emit_table(("FEATURE", "FAMILY", "KIND", "DEPENDS ON", "WIDTH", "OP", "SCORE", "REASON"), [_feature(row) for row in found["features"]])
    emit("")
    for line in _selection(found["selection"]):
        emit(plain_text(line))
    for line in _audit(found["audit"]):
        emit(plain_text(line))


def _families(features: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    rows: dict[str, list[bool]] = {}
    for feature in features:
        rows.setdefault(feature["family"] or "(none)", []).append(bool(feature["dynamic"]))
    for family, dynamic in sorted(rows.items()):
        yield plain_text(family), str(len(dynamic)), str(len(dynamic) - sum(dynamic)), str(sum(dynamic))


def _planned(row: Mapping[str, Any]) -> tuple[str, ...]:
    about = next((row["config"][name] for name in ("column", "columns", "keys", "entity") if row["config"].get(name)), "")
    about = about if isinstance(about, str) else ", ".join(about) if len(about) <= _FEW else f"{len(about)} columns"
    cost = f"{row['seconds']:.3f}" if row["taken"] else ""
    size = _size(row.get("bytes", 0)) if row.get("bytes") else ""
    return row["op"], plain_text(str(about)), "yes" if row["taken"] else "no", cost, size, plain_text(row["reason"])


def _feature(row: Mapping[str, Any]) -> tuple[str, ...]:
    width = f"{row['size']:,} rows" if row["kind"] != "numeric" else str(row["width"])
    score = "" if row["score"] is None else f"{row['score']:.4g}"
    moment = " at its time" if row["dynamic"] else ""
    return plain_text(row["name"]), row["family"], row["kind"], row["depends"] + moment, width, row["op"], score, plain_text(row["reason"])


def _selection(told: Mapping[str, Any]) -> Iterable[str]:
    if not told["selector"]:
        yield f"selection: every feature is kept: {told['note'] or 'no selector was asked'}"
    for name, reason in told["dropped"].items():
        yield f"selection: left out {name}: {reason}"
    if told["curve"]:
        points = ", ".join(f"{row['features']}: {row['value']:.4g}" for row in told["curve"])
        yield f"selection: {told['curve'][0]['metric']} of {told['curve'][0]['model']} on the best features, by their number: {points}"


def _audit(audit: Mapping[str, Any] | None) -> Iterable[str]:
    if audit is None:
        yield "audit: this feature set was not audited"
        return
    judged = ", ".join(f"{count} features for {part}" for part, count in audit["judged"].items()) or "nothing"
    yield f"audit: {len(audit['findings']) or 'no'} leaks on a sample of {audit['rows']:,} rows, {audit['seconds']:.2f} s; judged {judged}"
    for part, reasons in audit["skipped"].items():
        yield from (f"audit: {part}: {count} features not judged: {reason}" for reason, count in reasons.items())
    yield from (f"audit: not judged: {name}: {why}" for name, why in audit.get("unfitted", {}).items())
    if audit["not_reached"]:
        yield f"audit: no poison changed {', '.join(audit['not_reached'])}"
    yield from (f"audit: accepted: {row['text']}" for row in audit["accepted"])


def _size(count: float) -> str:
    unit, name = next(((unit, name) for unit, name in _UNITS if count >= unit), (1.0, "bytes"))
    return f"{count / unit:.3g} {name}"
