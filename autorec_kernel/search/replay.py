"""`Replay`: what the journal of a run holds about its search, and the writing of what it does not hold yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import ContractError, InfrastructureError
from autorec_kernel.records.trial import Evaluation, Proposal
from autorec_kernel.space import Genotype

if TYPE_CHECKING:
    from autorec_kernel.search.journal import Journal

__all__ = ["Replay"]


class Replay:
    """The search's side of a journal. Nothing is written twice, so that a resumed run has the records of an uninterrupted one.

    Args:
        journal: Read once, now.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.results: dict[tuple[int, int], Evaluation] = {}  # (trial, rung) -> result
        self.batches: dict[int, list[dict[str, Any]]] = {}  # batch -> rows of proposals
        self._told: set[int] = set()
        self._skipped: set[str] = set()
        for record in journal.records():
            self._read(record)

    def _read(self, record: dict[str, Any]) -> None:
        if record["kind"] == "result":
            self.results[record["trial"], record["rung"]] = Evaluation.from_json(record["evaluation"])
        elif record["kind"] == "batch":
            self.batches[record["batch"]] = record["proposals"]
        elif record["kind"] == "told":
            self._told.add(record["batch"])
        elif record["kind"] == "skipped":
            self._skipped.add(record["component"])

    def digests(self, index: int) -> set[str] | None:
        """Return the digests of the genotypes of a batch; None when it has not begun."""
        rows = self.batches.get(index)
        return None if rows is None else {Genotype(row["genotype"]).digest for row in rows}

    def propose(self, index: int, first: int, proposals: Sequence[Proposal]) -> None:
        """Write a batch down before it is evaluated, or compare it with what was written.

        Args:
            first: Number of its first trial.

        Raises:
            InfrastructureError: It was another batch before.
        """
        recorded = self.batches.get(index)
        if recorded is None:
            rows = [
                {"trial": first + offset, "genotype": dict(p.genotype), "parent": p.parent, "reason": p.reason}
                for offset, p in enumerate(proposals)
            ]
            self.batches[index] = self._journal.append("batch", batch=index, proposals=rows)["proposals"]
            return
        before = [(row["trial"], Genotype(row["genotype"]).digest, row["parent"]) for row in recorded]
        if before != [(first + offset, p.genotype.digest, p.parent) for offset, p in enumerate(proposals)]:
            raise InfrastructureError(
                f"batch {index} of this run was proposed differently before: a plugin, the recipe or the data has changed",
                where=str(self._journal.path),
                hint="start a new run in another folder",
            )

    def write(self, trial: int, rung: int, found: Evaluation, elapsed: float | None) -> Evaluation:
        """Write a result down and return it as a resumed run will read it.

        Args:
            elapsed: Seconds the run has used; a killed session has no other trace of them.
        """
        extra = {} if elapsed is None else {"measured_elapsed": elapsed}
        try:
            record = self._journal.append("result", trial=trial, rung=rung, evaluation=_checked(found).to_json(), **extra)
        except ContractError as error:
            broken = Evaluation("failed", error=f"the evaluator returned what cannot be stored: {error.message}")
            record = self._journal.append("result", trial=trial, rung=rung, evaluation=broken.to_json(), **extra)
        self.results[trial, rung] = Evaluation.from_json(record["evaluation"])
        return self.results[trial, rung]

    def tell(self, index: int, trials: Sequence[int]) -> None:
        """Write down that a batch is complete and the strategy knows it."""
        if index not in self._told:
            self._told.add(index)
            self._journal.append("told", batch=index, trials=list(trials))

    def skipped(self, component: str, reason: str) -> None:
        """Write down that a component does not fit the budget."""
        if component not in self._skipped:
            self._skipped.add(component)
            self._journal.append("skipped", component=component, reason=reason)


def _checked(found: Evaluation) -> Evaluation:
    """Return an evaluation, as `failed` when its cost is no number: trials are ordered by cost."""
    if all(isinstance(value, int | float) and math.isfinite(value) for value in astuple(found.cost)):
        return found
    return Evaluation("failed", error=f"the evaluator returned a cost that is no number: {found.cost}", details=found.details)
