"""`Watch`: a reporter of a replay that compares every result with the run's as it arrives, so that a replay can stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autorec_studies.difference import differences, key_of

if TYPE_CHECKING:
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.search.journal import Journal
    from autorec_kernel.stages.workplace import Reporter
    from autorec_studies.original import Original, Place

__all__ = ["Differs", "Watch"]


class Differs(Exception):
    """A difference has been seen, and the rest of the search would follow from it."""


class Watch:
    """Passes everything on to `shown`, and raises `Differs` at the first result or proposal that is not the run's.

    Args:
        journal: Of the replay.
        to_the_end: Whether to let differences pass.
    """

    def __init__(self, original: Original, journal: Journal, shown: Reporter, to_the_end: bool) -> None:
        self._original, self._journal, self._shown, self._to_the_end = original, journal, shown, to_the_end
        self._seen = 0
        self._skip: set[Place] = set(original.untried())
        self._known = {key_of(record): record for record in original.records if record["kind"] in ("batch", "result")}

    def stage(self, name: str, text: str) -> None:
        self._shown.stage(name, text)

    def note(self, text: str) -> None:
        self._shown.note(text)

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        total = sum(self._original.sizes)
        self._shown.trial(trial, number=number, total=total, best=best, share=min(1.0, (trial.number + 1) / total))
        fresh = self._fresh()
        known = [self._known[key] for key in map(key_of, fresh) if key in self._known]
        if not self._to_the_end and differences(known, fresh, missing=False):
            raise Differs

    def _fresh(self) -> list[dict[str, Any]]:
        """Return the proposals and results that were written since the last look."""
        records = self._journal.records()
        fresh, self._seen = records[self._seen :], len(records)
        kept = [record for record in fresh if record["kind"] in ("batch", "result")]
        return [record for record in kept if record["kind"] == "batch" or (record["trial"], record["rung"]) not in self._skip]
