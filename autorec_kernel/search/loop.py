"""The trial loop: baselines and blueprints first, then batches of proposals; every result is journaled the moment it arrives.

Resuming is running the same loop again: what the journal already holds is not evaluated a second time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Evaluation, Proposal, SearchResult, Trial
from autorec_kernel.search.front import front_of, order_best_first
from autorec_kernel.search.genes import Offer, decode
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.space import Genotype, SearchSpace

if TYPE_CHECKING:
    from autorec_kernel.contracts.evaluator import Task
    from autorec_kernel.contracts.search import SearchSession
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.search.journal import Journal

__all__ = ["Search", "first_proposals"]

_ASK = 1_000_000  # stage of the strategy's randomness: apart from every trial's
_IDLE_BATCHES = 5  # batches without a new architecture after which the space counts as exhausted

Submit = Callable[["Task"], "Future[Evaluation]"]
Progress = Callable[[Trial, "Search"], None]


@dataclass(slots=True)
class Search:
    """One search under way.

    Args:
        submit: Runs a task somewhere (`Executor.submit`).
        trained: Blueprints that learn by gradient: only they climb the rung ladder.
        offers: Every blueprint, for skipped rows.
        seconds_of: Predicted seconds of a genotype's full evaluation.
    """

    kernel: Kernel
    space: SearchSpace
    schema: FeatureSchema
    session: SearchSession
    submit: Submit
    journal: Journal
    settings: SearchSettings
    offers: tuple[Offer, ...]
    seconds_of: Callable[[Genotype], float]
    progress: Progress | None = None
    trials: list[Trial] = field(default_factory=list)
    baselines: dict[int, str] = field(default_factory=dict)  # trial number -> blueprint id
    best: Trial | None = None
    stopped_by: str = ""
    _stored: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    _batches: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)  # training key -> (trial, rung) that has the result
    _evaluations: dict[tuple[int, int], Evaluation] = field(default_factory=dict)

    def run(self) -> SearchResult:
        """Search until the budget ends."""
        started = time.monotonic()
        self._read_journal()
        baselines, blueprints = first_proposals(self.space, self.offers)
        self._batch(0, self._affordable(baselines), ladder=(1.0,), tell=True)
        self.baselines = {trial.number: str(trial.genotype[str(trial.genotype["pipeline"])]) for trial in self.trials}
        count = len(self.trials)
        index = 1
        if blueprints and self._open(count):
            self._batch(index, blueprints[: self._room(count, len(blueprints))], ladder=(1.0,), tell=True)
            index += 1
        idle = 0
        while self._open(count) and idle < _IDLE_BATCHES:
            fresh = len(self._known)
            size = self._room(count, self.settings.batch)
            rng = np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=(_ASK, index)))
            self._batch(index, self.session.ask(size, rng), ladder=self.settings.shares, tell=True)
            idle = idle + 1 if len(self._known) == fresh else 0
            index += 1
        self.stopped_by = self.stopped_by or ("space exhausted" if idle >= _IDLE_BATCHES else "trials")
        self.journal.flush()
        return SearchResult(self.best, front_of(self.trials), tuple(self.trials), time.monotonic() - started, self.stopped_by)

    # --- budget -----------------------------------------------------------------------------------------------------------------

    def _left(self) -> float | None:
        return None if self.settings.deadline is None else self.settings.deadline - time.monotonic()

    def _open(self, baselines: int) -> bool:
        left = self._left()
        if left is not None and left <= 0:
            self.stopped_by = "time"
            return False
        return self.settings.trials is None or len(self.trials) - baselines < self.settings.trials

    def _room(self, baselines: int, wanted: int) -> int:
        if self.settings.trials is None:
            return wanted
        return min(wanted, self.settings.trials - (len(self.trials) - baselines))

    def _affordable(self, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """Return the baselines that fit their share of the budget, cheapest first; the others get a journal row."""
        room = self.settings.baseline_seconds
        recorded = self._batches.get(0)
        if recorded is not None or room is None:
            names = {_digest(entry["genotype"]) for entry in recorded} if recorded is not None else None
            return tuple(p for p in proposals if names is None or p.genotype.digest in names)
        kept, spent = [], 0.0
        for seconds, _, proposal in sorted((self.seconds_of(p.genotype), i, p) for i, p in enumerate(proposals)):
            if kept and spent + seconds > room:
                reason = f"needs about {seconds:.0f} s, {max(0.0, room - spent):.0f} s of the baselines' share are left"
                self.journal.append("skipped", component=proposal.reason.removeprefix("baseline "), reason=reason)
                continue
            spent += seconds
            kept.append(proposal)
        return tuple(p for p in proposals if p in kept)

    # --- one batch --------------------------------------------------------------------------------------------------------------

    def _batch(self, index: int, proposals: Sequence[Proposal], ladder: tuple[float, ...], *, tell: bool) -> None:
        """Evaluate a batch up the ladder and tell it, in trial order."""
        first = len(self.trials)
        self._record_batch(index, first, proposals)
        running = {first + offset: self._begin(first + offset, proposal) for offset, proposal in enumerate(proposals)}
        climbing = list(running)
        for rung, share in enumerate(ladder):
            self._evaluate([running[number] for number in climbing], rung, share, running)
            if rung + 1 < len(ladder):
                climbing = self._promoted([running[number] for number in climbing])
                for number, trial in running.items():
                    if trial.status == "complete" and number not in climbing and self._climbs(trial):
                        running[number] = replace(trial, status="stopped")
        finished = [running[number] for number in sorted(running)]
        self.trials += finished
        self.session.tell(finished)
        if index not in self._told:
            self.journal.append("told", batch=index, trials=[trial.number for trial in finished])
        self.journal.flush()

    def _begin(self, number: int, proposal: Proposal) -> Trial:
        return Trial(
            number,
            proposal.genotype,
            "failed",
            parent=proposal.parent,
            evaluator=self.settings.evaluator,
            seed=self.settings.seed,
            reason=proposal.reason,
        )

    def _climbs(self, trial: Trial) -> bool:
        name = trial.genotype.get(str(trial.genotype.get("pipeline")))
        return any(offer.id == name and offer.trained for offer in self.offers)

    def _promoted(self, trials: Sequence[Trial]) -> list[int]:
        able = [trial for trial in trials if trial.status == "complete" and self._climbs(trial)]
        return sorted(trial.number for trial in order_best_first(able)[: math.ceil(len(able) / self.settings.eta)])

    def _evaluate(self, trials: Iterable[Trial], rung: int, share: float, running: dict[int, Trial]) -> None:
        """Evaluate trials at one rung; equal candidates are trained once, by the one with the lowest number."""
        waiting: dict[Future[Evaluation], Trial] = {}
        copies: list[tuple[Trial, tuple[int, int]]] = []
        for trial in trials:
            effective = share if self._climbs(trial) else 1.0
            key = self._key(trial.genotype, effective)
            source = self._known.setdefault(key, (trial.number, rung))
            if source != (trial.number, rung):
                copies.append((trial, source))
            elif (trial.number, rung) in self._stored:
                self._settle(trial, rung, Evaluation.from_json(self._stored[trial.number, rung]), running, stored=True)
            else:
                task = self.settings.task_for(trial.number, rung, effective, trial.genotype, trial.parent, self._left())
                waiting[self.submit(task)] = trial
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: waiting[one].number):
                self._settle(waiting.pop(future), rung, future.result(), running)
        for trial, source in copies:
            self._copy(trial, rung, source, running)

    def _copy(self, trial: Trial, rung: int, source: tuple[int, int], running: dict[int, Trial]) -> None:
        found = self._evaluations[source]
        details = {**found.details, "same_as": source[0]}
        self._settle(trial, rung, replace(found, details=details, measured={}), running, stored=(trial.number, rung) in self._stored)

    def _settle(self, trial: Trial, rung: int, found: Evaluation, running: dict[int, Trial], *, stored: bool = False) -> None:
        """Give a trial its result; write it down unless the journal has it."""
        self._evaluations[trial.number, rung] = found
        settled = replace(
            trial,
            status=found.status,
            rung=rung,
            metrics=found.metrics,
            objectives=self._objectives(found),
            cost=found.cost,
            measured=found.measured,
            error=found.error,
            artefacts=found.artefacts,
            details=found.details,
        )
        running[trial.number] = settled
        if not stored:
            self.journal.append("result", trial=trial.number, rung=rung, evaluation=found.to_json())
        if settled.status == "complete" and settled.objectives and (self.best is None or settled.value > self.best.value):
            self.best = settled
        self.kernel.observe("trial_finished", trial=settled)
        if self.progress is not None:
            self.progress(settled, self)

    def _objectives(self, found: Evaluation) -> tuple[float, ...]:
        value = found.metrics.get(self.settings.metric)
        if found.status != "complete" or value is None or not math.isfinite(value):
            return ()
        return (value if self.settings.maximise else -value,)

    def _key(self, genotype: Genotype, share: float) -> str:
        try:
            candidate = decode(genotype, self.schema, self.kernel)
        except Exception:  # an impossible candidate is its own key; the evaluator reports why it is impossible
            return f"{genotype.digest}/{share}"
        dropped = len(self.schema.features) - len(candidate.features.features)
        return f"{candidate.architecture.digest()}/{sorted(candidate.training.items())}/{dropped}/{share}"

    # --- journal ----------------------------------------------------------------------------------------------------------------

    def _read_journal(self) -> None:
        for record in self.journal.records():
            if record["kind"] == "result":
                self._stored[record["trial"], record["rung"]] = record["evaluation"]
            elif record["kind"] == "batch":
                self._batches[record["batch"]] = record["proposals"]
            elif record["kind"] == "told":
                self._told.add(record["batch"])

    def _record_batch(self, index: int, first: int, proposals: Sequence[Proposal]) -> None:
        rows = [
            {"trial": first + offset, "genotype": dict(p.genotype), "parent": p.parent, "reason": p.reason} for offset, p in enumerate(proposals)
        ]
        recorded = self._batches.get(index)
        if recorded is None:
            self.journal.append("batch", batch=index, proposals=rows)
            return
        if [_digest(row["genotype"]) for row in recorded] != [p.genotype.digest for p in proposals]:
            raise InfrastructureError(
                f"batch {index} of this run was proposed differently before: a plugin, the recipe or the data has changed",
                hint="start a new run in another folder",
            )


def first_proposals(space: SearchSpace, offers: Sequence[Offer]) -> tuple[tuple[Proposal, ...], tuple[Proposal, ...]]:
    """Return the default genotype of each baseline, and of each other blueprint, that fits the data."""
    found: dict[bool, list[Proposal]] = {True: [], False: []}
    for offer in offers:
        if not offer.reason:
            word = "baseline" if offer.baseline else "blueprint"
            genotype = space.canonical({"pipeline": offer.role, offer.role: offer.id})
            found[offer.baseline].append(Proposal(genotype, None, f"{word} {offer.id}"))
    return tuple(found[True]), tuple(found[False])


def _digest(genotype: Mapping[str, Any]) -> str:
    return Genotype(genotype).digest
