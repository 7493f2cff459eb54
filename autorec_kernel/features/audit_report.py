"""What the audit of a feature set found: one record a leak, and what was not judged with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autorec_kernel.errors import LeakError
from autorec_kernel.records.features import Feature

__all__ = ["AuditReport", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature that knows too much.

    Args:
        kind: future | own label | too good.
        columns: What the feature is made of.
        op, distribution: Who made it; distribution is empty for an op that was handed in.
    """

    kind: str
    feature: str
    columns: tuple[str, ...]
    op: str
    distribution: str
    text: str


@dataclass(slots=True)
class AuditReport:
    """What was looked at, what was not and why, and what was found.

    Args:
        rows: Size of the sample.
        judged: Part → features judged.
        skipped: Part → reason → features that it does not judge (of a whole part: all of them).
        not_reached: Features that no poison changed anywhere: of them nothing is known.
        unfitted: Feature → why its op does not make it of the sample.
        accepted: Findings that the caller accepts.
    """

    rows: int = 0
    seconds: float = 0.0
    judged: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)
    not_reached: list[str] = field(default_factory=list)
    unfitted: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Finding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def summary(self) -> str:
        """Return one line."""
        judged = ", ".join(f"{count} features for {part}" for part, count in self.judged.items())
        left = [f"{part}: {count} not judged, {why}" for part, rows in self.skipped.items() for why, count in rows.items()]
        left = [*left, f"not judged: {', '.join(self.unfitted)}"] if self.unfitted else left
        found = f"{len(self.findings)} leak" + ("s" if len(self.findings) > 1 else "") if self.findings else "no leak"
        return f"audit on {self.rows:,} rows: {found}; judged {judged or 'nothing'}" + (f" ({'; '.join(left)})" if left else "")

    def check(self) -> None:
        """Raise the first finding, if there is one.

        Raises:
            LeakError: A feature knows too much.
        """
        if not self.findings:
            return
        first = min(self.findings, key=lambda one: (one.kind == "too good", len(one.columns) if one.kind == "too good" else 0))
        source = f"{first.op} of {first.distribution}" if first.distribution else first.op
        others = sorted({one.feature for one in self.findings} - {first.feature})
        text = first.text + (f" (and {len(others)} more: {', '.join(others)[:300]})" if others else "")
        if first.kind == "too good":
            column = (first.columns or (first.feature,))[0]
            hint = (
                f"--kind or --role {column}=ignore leaves the column out; --accept-leak {column} if it is known when the answer is needed"
            )
            raise LeakError(text, where=source, hint=hint.replace("--kind or --role", "--role"))
        hint = f"--block {first.distribution} leaves the package out" if first.distribution else "leave the op out, or mend it"
        raise LeakError(text, where=source, hint=hint)

    def add(
        self,
        part: str,
        feature: Feature | None,
        columns: tuple[str, ...],
        distributions: Mapping[str, str],
        text: str,
        *,
        accepted: bool = False,
    ) -> None:
        """Note a finding, one a part and feature."""
        name, op = (feature.name, feature.op) if feature else (columns[0], "the table")
        rows = self.accepted if accepted else self.findings
        if all((found.kind, found.feature) != (part, name) for found in rows):
            rows.append(Finding(part, name, columns, op, distributions.get(op, ""), text))

    def skip(self, part: str, reason: str, count: int = 1) -> None:
        """Count what a part does not judge; 0 is not noted."""
        rows = self.skipped.setdefault(part, {}) if count else {}
        rows[reason] = rows.get(reason, 0) + count
