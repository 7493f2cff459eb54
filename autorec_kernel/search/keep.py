"""`Keeper`: deletes the artefacts of trials that nothing can ask for again, so that a long search does not fill the disk."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from autorec_kernel.records.trial import Evaluation, Trial
from autorec_kernel.search.front import front_of
from autorec_kernel.search.tasks import ARTEFACTS

__all__ = ["Keeper"]

_log = logging.getLogger(__name__)
_FRONT = 4  # trials of the front that keep their weights, for each of the best that does
_WEIGHTS, _VALUES = "weights", "values"  # the artefacts that grow with the search; others are never deleted


class Keeper:
    """Tidies the artefact folder of a run after each batch.

    Kept are the validation values of every complete trial (they are small, and are compared in pairs), and the weights of the `best` trials
    with the highest metric and of the best part of the front of metric, latency and bytes: a tie is decided for the cheaper one. What is
    deleted follows from the finished trials alone, so an interrupted run ends with the same files as an uninterrupted one.

    Args:
        run: Run folder.
        best: How many of the best trials keep their weights; 0 = nothing is ever deleted.
    """

    def __init__(self, run: str | Path, best: int) -> None:
        self._folder = Path(run) / ARTEFACTS
        self._best = best
        self._candidates: list[Trial] = []  # the best and the front so far
        self._values: set[str] = set()
        self._weights: set[str] = set()  # weights that are there
        self._sweep()

    def tidy(self, batch: Sequence[Trial], evaluations: Iterable[Evaluation]) -> None:
        """Delete what is no longer needed now that a batch has ended.

        Args:
            evaluations: Every result of the batch, of all rungs.
        """
        if not self._best:
            return
        found = list(evaluations)
        complete = [*self._candidates, *(trial for trial in batch if trial.status == "complete" and trial.objectives)]
        best = sorted(complete, key=lambda trial: (-trial.value, trial.number))[: self._best]
        self._candidates = list({trial.number: trial for trial in (*best, *front_of(complete)[: _FRONT * self._best])}.values())
        self._values |= _names(complete, _VALUES)
        needed = _names(self._candidates, _WEIGHTS)
        for name in sorted((self._weights | _names(found, _WEIGHTS)) - needed) + sorted(_names(found, _VALUES) - self._values):
            self._delete(name)
        self._weights = needed

    def _delete(self, name: str) -> None:
        if Path(name).name != name:  # only files of the folder itself
            return
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the artefact %s could not be deleted: %s", name, error.strerror)

    def _sweep(self) -> None:
        """Delete half-written files that a killed session left behind."""
        for path in self._folder.glob(".*.tmp") if self._folder.is_dir() else ():
            path.unlink(missing_ok=True)


def _names(holders: Iterable[Trial | Evaluation], name: str) -> set[str]:
    return {holder.artefacts[name] for holder in holders if name in holder.artefacts}
