"""`Original`: what the journal of a run says about its search. Nothing else of the run folder is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autorec_kernel.config import parse_config
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import default_metric
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.journal import read_journal

__all__ = ["Original", "Place", "read_original"]

Place = tuple[int, int]  # trial, rung
_MACHINE = ("timeout", "oom", "crashed", "killed")  # statuses that the machine decided, not the candidate


@dataclass(frozen=True, slots=True)
class Original:
    """A run as its journal holds it.

    Args:
        header: The record `run`: recipe, fingerprint of the data, protocol, plugins, device.
        batches: Rows of proposals, by batch.
        told: Batches that were completed.
    """

    folder: Path
    records: tuple[dict[str, Any], ...]
    header: Mapping[str, Any]
    batches: tuple[Sequence[Mapping[str, Any]], ...]
    results: Mapping[Place, Evaluation]
    told: frozenset[int]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return how many candidates each batch proposed."""
        return tuple(len(rows) for rows in self.batches)

    @property
    def whole(self) -> bool:
        """Return whether it is a run from a table, not a search alone on a feature set."""
        return "data" in self.header

    @property
    def metric(self) -> str:
        """Return what the run optimised."""
        return str(self.header["recipe"]["metric"] or default_metric(self.header["recipe"]["task"]))

    def of_kind(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Return the records of a kind, oldest first."""
        return tuple(record for record in self.records if record["kind"] == kind)

    def table(self, name: str) -> str | None:
        """Return where a table (data, users, items) lay when the run was last started; None where it was no file."""
        return next((record[name] for record in reversed(self.of_kind("session_started")) if name in record), None)

    def recipe(self, workers: int | None = None, *, advised: bool = True) -> Recipe:
        """Return the recipe, without a limit of time or trials: the journal says how far the search went.

        Args:
            workers: Processes; None = one a core.
            advised: Whether what an adviser filled in is in it.
        """
        told = dict(self.header["recipe"])
        for record in self.of_kind("advice") if advised else ():
            told |= record["changes"]
        order = {name: number for number, name in enumerate(self.header.get("labels", ()))}  # JSON keeps no order, labels have one
        told["roles"] = dict(sorted(told["roles"].items(), key=lambda entry: order.get(entry[0], -1)))
        return parse_config(Recipe, {**told, "trials": 0, "workers": workers or 0}, where=str(self.folder))

    def by_machine(self) -> dict[Place, Evaluation]:
        """Return the results that the clock or the machine decided: training again cannot give them."""
        return {place: found for place, found in self.results.items() if _machine(found)}

    def untried(self) -> tuple[Place, ...]:
        """Return the (trial, rung) of an unfinished last batch that the run never got to."""
        rungs = range(len(self.recipe().rungs))
        open_rows = [row for index, rows in enumerate(self.batches) if index not in self.told for row in rows]
        places = [(int(row["trial"]), rung) for row in open_rows for rung in rungs]
        return tuple(place for place in places if place not in self.results)


def read_original(folder: Path) -> Original:
    """Read the journal of a run.

    Raises:
        UsageError: There is no run in the folder, or it ended before its search began.
        InfrastructureError: The journal is damaged or cannot be read.
    """
    path = folder / "journal.jsonl"
    if not path.is_file():
        raise UsageError(
            "there is no run in this folder: it has no journal.jsonl", where=str(folder), hint="name the folder given as --out"
        )
    records = read_journal(path)
    header = next((record for record in records if record["kind"] == "run"), None)
    batches = sorted((record for record in records if record["kind"] == "batch"), key=lambda record: int(record["batch"]))
    if header is None or not batches:
        raise UsageError(
            "there is no search in this journal: the run ended before it began, or this is a transfer, which searches nothing",
            where=str(folder),
            hint="add --resume to a run's command to go on with it",
        )
    results = {(r["trial"], r["rung"]): Evaluation.from_json(r["evaluation"]) for r in records if r["kind"] == "result"}
    told = frozenset(int(record["batch"]) for record in records if record["kind"] == "told")
    return Original(folder, records, header, tuple(record["proposals"] for record in batches), results, told)


def _machine(found: Evaluation) -> bool:
    timed = found.status == "infeasible" and "max_seconds" in found.error
    return found.status in _MACHINE or timed or found.details.get("stopped_by") == "deadline"
