"""`Workplace`: the folder of a run with its journal, its clock and its observers; what every stage gets besides records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import atomic_write
from autorec_kernel.recipe import Recipe

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.search.journal import Journal

__all__ = ["Reporter", "Silent", "Workplace", "make_folder"]

# Shares of a time budget; the search leaves what the stages after it need.
_PARTS = {"features": 0.15, "baselines": 0.25, "search": 1.0, "trial": 0.2, "deploy": 0.2}


class Reporter(Protocol):
    """Somebody who wants to know how the run goes; the command line draws it, a host may pass its own."""

    def stage(self, name: str, text: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        """A trial ended; `share` of the search's budget is used."""


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str, text: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Workplace:
    """A run under way.

    Args:
        folder: The run folder.
        spent: Seconds that earlier sessions of this run used.
        stages: Stage → seconds, filled as stages end.
        audit: What the audit of the features looked at and found.
    """

    folder: Path
    recipe: Recipe
    kernel: Kernel
    journal: Journal
    reporter: Reporter
    device: str = "cpu"
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    audit: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time a stage and tell its beginning and end; a stage entered twice adds up."""
        self.reporter.stage(name, text)
        self.kernel.observe("stage_started", stage=name, context={"run": str(self.folder)})
        began = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - began
        self.journal.append("session_stage", stage=name, seconds=self.stages[name], elapsed=self.elapsed())
        self.kernel.observe("stage_finished", stage=name, context={"run": str(self.folder), "seconds": self.stages[name]})

    def elapsed(self) -> float:
        """Return the seconds used, earlier sessions included."""
        return self.spent + time.monotonic() - self.started

    def share(self, part: str) -> float | None:
        """Return the seconds that a part may take; None without a time budget."""
        total = self.recipe.seconds
        return None if total is None else _PARTS[part] * total

    def first_share(self, part: str) -> float | None:
        """Return the share that a part had when the run began: what was built then must be built again, whatever the budget is now."""
        first = next((record for record in self.journal.records() if record["kind"] == "session_started"), {})
        total = first.get("budget", self.recipe.seconds)
        return None if total is None else _PARTS[part] * float(total)

    def first_memory(self) -> float | None:
        """Return the bytes that features might take when the run began, for the same reason."""
        return next((record.get("memory") for record in self.journal.records() if record["kind"] == "session_started"), None)

    def same(self, kind: str, **facts: Any) -> None:
        """Write down facts that a resumed run must find again, or compare them with what was written.

        Raises:
            InfrastructureError: They differ.
        """
        recorded = next((record for record in self.journal.records() if record["kind"] == kind), None)
        if recorded is None:
            self.journal.append(kind, **facts)
            return
        changed = sorted(name for name, value in json.loads(json.dumps(facts)).items() if recorded.get(name) != value)
        if changed:
            told = "; ".join(f"{name}: was {recorded.get(name)}, is {facts[name]}" for name in changed)
            message = f"the {kind} of this run was different before: {told}"[:1000]
            raise InfrastructureError(message, where=str(self.folder), hint="start a new run in another folder")

    def deadline(self, part: str) -> float | None:
        """Return the monotonic time at which a part that is counted from the start of the run ends."""
        share = self.share(part)
        return None if share is None else self.started - self.spent + share

    def note(self, text: str) -> None:
        """Keep a remark for the result, once, and tell it."""
        if text not in self.notes:
            self.notes.append(text)
            self.reporter.note(text)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file of the run folder, whole or not at all."""
        atomic_write(self.folder / name, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def make_folder(folder: Path) -> None:
    """Make the run folder and prove that it can be written.

    Raises:
        InfrastructureError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InfrastructureError(f"the folder cannot be written: {reason}", where=str(folder), hint="choose another folder") from error
