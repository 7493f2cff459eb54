"""`replay`: the search of a run once more, from its journal and the data alone, compared with what the journal holds.

No artefact of the run is read: every candidate is trained from its genotype. What a clock or a machine decided (a trial that ran out of
time or memory, the memory that features could take, the measured plan of the compression) cannot be computed again: it is taken from the
journal, and said to be.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.records.trial import Evaluation, Trial
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.tasks import FEATURES, threads_limited
from autorec_kernel.stages.advice import with_advice
from autorec_kernel.stages.identity import check_same
from autorec_kernel.stages.prepare import device_of, features_of, open_table, selected
from autorec_kernel.stages.search import search, submitting
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder
from autorec_studies.alone import check_search, link, open_features
from autorec_studies.data import check_data, check_features, sources
from autorec_studies.difference import Difference, differences
from autorec_studies.original import Original, read_original
from autorec_studies.watch import Differs, Watch

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.trial import SearchResult

__all__ = ["AFTER_SEARCH", "Replayed", "replay"]

AFTER_SEARCH = ("timed", "planned", "test_opened", "finished")  # kinds of record of the stages after the search
_UNTRIED = Evaluation("stopped", error="the run ended before it was tried")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found.

    Args:
        differences: Nothing when the runs are equal; the first one is the first in the order of the search.
        trained: Trainings that were done again.
        taken: (trial, rung, why) of results that were taken from the journal.
        best: Number of the best trial, its metric and the digest of its weights, of the run and of the replay.
    """

    run: str
    differences: tuple[Difference, ...]
    trials: int
    trained: int
    taken: tuple[tuple[int, int, str], ...]
    best: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Return whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run": self.run,
            "equal": self.equal,
            "trials": self.trials,
            "trained": self.trained,
            "taken": [{"trial": trial, "rung": rung, "why": why} for trial, rung, why in self.taken],
            "best": {name: dict(row) for name, row in self.best.items()},
            "differences": [found.to_json() for found in self.differences],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


def replay(
    run: Path,
    kernel: Kernel,
    folder: Path,
    *,
    data: Any = None,
    users: Any = None,
    items: Any = None,
    workers: int | None = None,
    whole: bool = False,
    to_the_end: bool = False,
    reporter: Reporter | None = None,
) -> Replayed:
    """Run the search of a run again in a new folder, and compare the two journals.

    Args:
        run: The run folder, of which only `journal.jsonl` is read.
        folder: A new folder for the replay; its journal is written like that of any run.
        data, users, items: Where the tables are, or the feature set of a search alone; None = where they were.
        workers: Processes that train; they do not change the result.
        whole: Whether to go on after the search: refit, compress, measure on the test rows and write the bundle, whose digest is compared.
        to_the_end: Whether to go on after the first difference.

    Raises:
        UsageError: There is no run, or it is not known where its data is.
        DataError: The data is not what the run had; the message says what differs.
    """
    began, original = time.monotonic(), read_original(run)
    recipe = original.recipe(workers, advised=False)
    source, tables = sources(original, data, users, items)
    make_folder(folder)
    with Journal.open(folder / "journal.jsonl") as journal, threads_limited(recipe.threads):
        _seed(journal, original)
        watch = Watch(original, journal, reporter or Silent(), to_the_end)
        place = Workplace(folder, recipe, kernel, journal, watch, device=device_of(recipe))
        best: Mapping[str, Mapping[str, Any]] = {}
        early: tuple[str, ...] = ()
        try:
            again = _searched(place, original, source, tables, whole) if original.whole else _searched_alone(place, original, source)
            best = _best_of(original, again)
        except Differs:
            early = ("the replay stopped at the first difference",)
        found = _compared(original, journal, whole, ended=bool(best))
        taken = tuple((*key, one.error or "stopped by the clock") for key, one in sorted(original.by_machine().items()))
        seeded, notes = len(original.by_machine()) + len(original.untried()), (*_notes(original, place), *early)
        trained = sum("same_as" not in r["evaluation"]["details"] for r in journal.records() if r["kind"] == "result") - seeded
        return Replayed(str(run), tuple(found), sum(original.sizes), trained, taken, best, notes, time.monotonic() - began)


def _searched(place: Workplace, original: Original, source: Any, tables: tuple[Any, Any], whole: bool) -> SearchResult:
    """Do the stages again, up to the search or to the end."""
    from autorec_kernel.stages.finish import finish

    with place.stage("data", "reading the table"):
        dataset = open_table(source, place.recipe, place.kernel, *tables)
        check_data(original, dataset)
        check_same(place, dataset)
    with place.stage("features", "building features"):
        features = features_of(place, dataset, place.folder / "features")
        selected(features, place.kernel, place.recipe, place.folder / "features", seconds=0.0, share=place.first_share("features"))
        place.same("features", digest=features.digest)
    with place.stage("search", "searching again"), submitting(place, features) as submit:
        _follow_advice(place, original)
        found, state = search(place, features, submit, sizes=original.sizes)
    if whole:
        finish(place, dataset, features, found, state)
    return found


def _searched_alone(place: Workplace, original: Original, source: Any) -> SearchResult:
    """Search again on the feature set of a search alone."""
    where, features = open_features(Path(source), place.recipe.task)
    check_features(original, features)
    link(where, place.folder / FEATURES)
    check_search(place, features)
    with place.stage("search", "searching again"), submitting(place, features) as submit:
        _follow_advice(place, original)
        return search(place, features, submit, sizes=original.sizes)[0]


def _follow_advice(place: Workplace, original: Original) -> None:
    """Fill in what an adviser filled in then; nobody is asked again."""
    for record in original.of_kind("advice"):
        place.recipe = with_advice(place.recipe, record["changes"])


def _seed(journal: Journal, original: Original) -> None:
    """Write what cannot be computed again: the first budget and memory, results of the clock, trials the run never got to."""
    first = next(iter(original.of_kind("session_started")), {})
    journal.append("session_started", time=time.time(), spent=0.0, budget=first.get("budget"), memory=first.get("memory"))
    if original.of_kind("skipped"):  # baselines that the time had no room for
        journal.append("batch", batch=0, proposals=original.batches[0])
    for record in (*original.of_kind("advice"), *original.of_kind("skipped"), *original.of_kind("timed"), *original.of_kind("planned")):
        journal.append(record["kind"], **{key: value for key, value in record.items() if key not in ("v", "seq", "crc", "kind")})
    for (trial, rung), found in original.by_machine().items():
        journal.append("result", trial=trial, rung=rung, evaluation=found.to_json())
    for trial, rung in original.untried():
        journal.append("result", trial=trial, rung=rung, evaluation=_UNTRIED.to_json())


def _compared(original: Original, journal: Journal, whole: bool, *, ended: bool) -> list[Difference]:
    """Compare the journals; of an unfinished batch what the run did not get to is left out."""
    left_out, ignored = set(original.untried()), () if whole else AFTER_SEARCH
    mine = [
        record
        for record in journal.records()
        if not (record["kind"] == "result" and (record["trial"], record["rung"]) in left_out)
        and not (record["kind"] == "told" and record["batch"] not in original.told)
    ]
    return differences(_less(original.records), _less(mine), ignored=ignored, missing=ended)


def _less(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return records without the versions of plugins, which `_notes` compares: what they do is what counts."""
    return [{key: value for key, value in one.items() if not (one["kind"] == "run" and key == "plugins")} for one in records]


def _notes(original: Original, place: Workplace) -> list[str]:
    now = next((record for record in place.journal.records() if record["kind"] == "run"), {}).get("plugins", {})
    was = original.header.get("plugins", {})
    changed = [f"{name}: was {was.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in sorted(was.keys() | now.keys())]
    told = [line for line, name in zip(changed, sorted(was.keys() | now.keys()), strict=True) if was.get(name) != now.get(name)]
    notes = [f"plugins have changed: {'; '.join(told)}"] if told and now else []
    if not original.of_kind("finished"):
        notes.append("the run did not end; what its journal holds was replayed")
    if place.device != "cpu":
        notes.append("the bits of weights are promised on the CPU only")
    return notes


def _best_of(original: Original, found: SearchResult) -> dict[str, dict[str, Any]]:
    if found.best is None:
        return {"run": {}, "replay": {}}
    here = found.best
    there = original.results.get((here.number, here.rung))
    return {"run": _told(here.number, there, original.metric), "replay": _told(here.number, here, original.metric)}


def _told(number: int, found: Evaluation | Trial | None, metric: str) -> dict[str, Any]:
    if found is None:
        return {}
    return {"trial": number, metric: found.metrics.get(metric), "weights": found.details.get("weights", "")}
