"""`Finished`: a run whose search is over, as its journal holds it: recipe, tables, trials, and which of them it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autorec_kernel.data
from autorec_kernel.contracts.evaluator import PROVISIONAL
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.evaluation import default_metric, parse_metric
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.trial import Evaluation, Trial
from autorec_kernel.search.journal import read_journal
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.tasks import FEATURES
from autorec_kernel.space import Genotype

__all__ = ["Finished", "read_finished"]

_LIMITS = ("max_bytes", "max_latency_ms", "max_drop", "serve_threads", "serve_batch", "profile")


@dataclass(frozen=True, slots=True)
class Finished:
    """A run.

    Args:
        header: The record `run`: recipe, fingerprint of the data, protocol, plugins, device.
        served: Number of the trial that it serves, or that it last planned to.
        openings: How often its test rows were opened.
    """

    folder: Path
    header: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]
    trials: tuple[Trial, ...]
    served: int
    openings: int

    def recipe(self, target: str, changes: Mapping[str, Any], seconds: float, workers: int) -> dict[str, Any]:
        """Return the keys of the run's recipe with another target; limits of the run are not those of another target."""
        told = dict(self.header["recipe"])
        for record in self.records:
            told |= record["changes"] if record["kind"] == "advice" else {}
        order = {name: number for number, name in enumerate(self.header.get("labels", ()))}  # JSON keeps no order, labels have one
        told["roles"] = dict(sorted(told["roles"].items(), key=lambda entry: order.get(entry[0], -1)))
        if target:
            told = {**{key: value for key, value in told.items() if key not in _LIMITS}, "target": target}
        return {**told, **changes, "budget": seconds, "trials": None, "workers": workers}

    def table(self, name: str) -> str | None:
        """Return where a table (data, users, items) lies that the run had when it was last started; None where it was no file.

        The packaged table is that of this installation, wherever the run's was.

        Raises:
            UsageError: It is no longer there.
        """
        starts = [record for record in self.records if record["kind"] == "session_started"]
        told = next((str(record[name]) for record in reversed(starts) if name in record), None)
        if told is None or Path(told).exists():
            return told
        packaged = Path(autorec_kernel.data.__file__).parent / "movielens" / Path(told).name
        if Path(told).parts[-4:] == packaged.parts[-4:] and packaged.exists():
            return str(packaged)
        hint = "--data FILE, --users FILE and --items FILE say where the tables of the run lie now"
        raise UsageError("a table of the run is no longer where it was", where=told, hint=hint)

    def check(self, dataset: Dataset) -> None:
        """Check that the data is what the run had.

        Raises:
            DataError: It is not.
        """
        mine = {"data": dataset.fingerprint, "protocol": dataset.protocol.id}
        changed = [f"{name}: was {self.header.get(name)}, is {value}" for name, value in mine.items() if self.header.get(name) != value]
        if changed:
            hint = "--data FILE names the table it had; `autorec refresh` is for new data"
            raise DataError(f"this is not the data of the run: {'; '.join(changed)}", where=str(self.folder), hint=hint)


def read_finished(folder: Path) -> Finished:
    """Read a run whose search is over.

    Raises:
        UsageError: There is none, it was never told what it serves, or its features are gone.
    """
    path = folder / "journal.jsonl"
    if not path.is_file():
        raise UsageError("there is no run in this folder: it has no journal.jsonl", where=str(folder), hint="name the --out of a run")
    records = tuple(read_journal(path))
    header = next((record for record in records if record["kind"] == "run"), None)
    if header is None or "data" not in header or not (folder / FEATURES / "features.json").is_file():
        told = "this is no run from a table, or its features are gone" if header else "this run ended before its search began"
        raise UsageError(told, where=str(folder), hint=f"autorec status {folder}")
    served = _served(folder, records)
    if served is None:
        hint = f"autorec status {folder} says how to go on with it"
        raise UsageError("this run has not finished its search: it does not say what it serves", where=str(folder), hint=hint)
    opened = sum(record["kind"] in ("test_opened", "session_test_opened") for record in records)
    return Finished(folder, header, records, _trials(header, records), served, opened)


def _served(folder: Path, records: tuple[Mapping[str, Any], ...]) -> int | None:
    path = folder / "result.json"
    if path.is_file():
        return int(json.loads(path.read_bytes())["best"]["trial"])
    return next((int(record["trial"]) for record in reversed(records) if record["kind"] == "planned"), None)


def _trials(header: Mapping[str, Any], records: tuple[Mapping[str, Any], ...]) -> tuple[Trial, ...]:
    """Return the trials with the result that the search kept of each."""
    recipe = header["recipe"]
    metric = str(recipe["metric"] or default_metric(recipe["task"]))
    goal = Objectives(metric, parse_metric(metric)[0].higher_is_better)
    proposals = {int(row["trial"]): row for record in records if record["kind"] == "batch" for row in record["proposals"]}
    results: dict[int, list[tuple[int, Evaluation]]] = {}
    for record in records:
        if record["kind"] == "result":
            found = Evaluation.from_json(record["evaluation"])
            results.setdefault(int(record["trial"]), []).append((int(record["rung"]), found))
    kept = {number: _kept([found for _, found in sorted(rows, key=lambda row: row[0])], goal) for number, rows in results.items()}
    return tuple(_trial(number, proposals[number], one, goal) for number, one in sorted(kept.items()) if number in proposals)


def _kept(rows: list[Evaluation], goal: Objectives) -> Evaluation:
    """Return the last result, but what a higher rung lost or failed at after a complete one that was no mere promise."""
    last = rows[0]
    for found in rows[1:]:
        reached = last.status == "complete" and not last.details.get(PROVISIONAL)
        worse = (goal.of(found) or (float("-inf"),)) < (goal.of(last) or (float("-inf"),))
        if not (reached and (worse or found.status != "complete")):
            last = found
    return last


def _trial(number: int, row: Mapping[str, Any], found: Evaluation, goal: Objectives) -> Trial:
    return Trial(
        number,
        Genotype(row["genotype"]),
        found.status,
        goal.of(found),
        found.metrics,
        cost=found.cost,
        measured=found.measured,
        error=found.error,
        reason=str(row.get("reason", "")),
        artefacts=found.artefacts,
        details=found.details,
    )
