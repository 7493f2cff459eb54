"""The trial loop: baselines and blueprints first, then batches of proposals; every result is journaled the moment it arrives.

Resuming is running the same loop again: what the journal already holds is not evaluated a second time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.contracts.evaluator import CONVERGED, PROVISIONAL
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Evaluation, Proposal, SearchResult, Trial
from autorec_kernel.search.front import best_of, front_of, knee_of, order_best_first
from autorec_kernel.search.genes import Offer, first_proposals, training_key
from autorec_kernel.search.guard import guarded
from autorec_kernel.search.keep import Keeper
from autorec_kernel.search.replay import Replay
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
_UNTRIED = "the budget ended before it was tried"

Submit = Callable[["Task"], "Future[Evaluation]"]
Progress = Callable[[Trial, "Search"], None]
_Place = tuple[int, int]  # trial, rung


@dataclass(slots=True)
class Search:
    """One search under way.

    Args:
        submit: Runs a task somewhere (`Executor.submit`).
        offers: Every blueprint; those that learn by gradient climb the rung ladder.
        seconds_of: Predicted seconds of a genotype's full evaluation.
        reserve: Seconds that the stages after the search will need, from the trials so far.
        elapsed: Returns the seconds that the run has used, earlier sessions included; written beside every result.
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
    reserve: Callable[[Sequence[Trial]], float] | None = None
    elapsed: Callable[[], float] | None = None
    trials: list[Trial] = field(default_factory=list)
    baselines: dict[int, str] = field(default_factory=dict)  # trial number -> blueprint id
    best: Trial | None = None
    stopped_by: str = ""
    _replay: Replay = field(init=False)
    _keeper: Keeper = field(init=False)
    _cut: bool = False  # the time ended in the middle of a batch
    _known: dict[str, _Place] = field(default_factory=dict)  # training key -> who has the result
    _evaluations: dict[_Place, Evaluation] = field(default_factory=dict)

    def run(self) -> SearchResult:
        """Search until the budget ends.

        Raises:
            PluginError: The strategy raised.
            InfrastructureError: The journal holds other proposals than this run makes, or cannot be written.
        """
        started = time.monotonic()
        self._replay, self._keeper = Replay(self.journal), Keeper(self.settings.run, self.settings.keep)
        baselines, blueprints = first_proposals(self.space, self.offers)
        self._batch(0, self._affordable(baselines), ladder=(1.0,))
        self.baselines = {trial.number: str(trial.genotype[str(trial.genotype["pipeline"])]) for trial in self.trials}
        index, asked, idle = 1, 0, 0
        while idle < _IDLE_BATCHES and self._open(index):
            fresh = len(self._known)
            ladder, size = self.settings.bracket(asked)
            wanted = self._room(index, len(blueprints) or size)
            if blueprints:
                now, blueprints = blueprints[:wanted], blueprints[wanted:]
                self._batch(index, now, ladder=(1.0,))
            else:
                self._batch(index, self._asked(index, wanted), ladder=ladder)
                asked += 1
                idle = idle + 1 if len(self._known) == fresh else 0
            index += 1
        self.stopped_by = self.stopped_by or ("space exhausted" if idle >= _IDLE_BATCHES else "trials")
        self.journal.flush()
        merit = self.settings.goal.merit
        front = front_of(self.trials, merit)
        knee = knee_of(front, merit)
        told = self.stopped_by, None if knee is None else knee.number
        return SearchResult(self.best, front, tuple(self.trials), time.monotonic() - started, *told)

    # --- budget -----------------------------------------------------------------------------------------------------------------

    def _left(self) -> float | None:
        """Return the seconds until the search must end, what the rest of the run still needs taken off."""
        if self.settings.deadline is None:
            return None
        return self.settings.deadline - time.monotonic() - (self.reserve(self.trials) if self.reserve else 0.0)

    def _late(self) -> bool:
        left = self._left()
        return left is not None and left <= 0

    def _open(self, index: int) -> bool:
        """Return whether another batch may begin; one that the journal knows is always gone through, whatever it costs now."""
        if self.settings.sizes:
            return index < len(self.settings.sizes)
        if self._cut or (index not in self._replay.batches and self._late()):
            self.stopped_by = "time"
            return False
        return index in self._replay.batches or self.settings.trials is None or self._spare() > 0

    def _spare(self) -> int:
        assert self.settings.trials is not None
        return self.settings.trials - (len(self.trials) - len(self.baselines))

    def _room(self, index: int, wanted: int) -> int:
        """Return the size of a batch: as it was before, else what the budget has room for."""
        recorded = self._replay.batches.get(index)
        if recorded is not None:
            return len(recorded)
        if self.settings.sizes:
            return self.settings.sizes[index]
        return wanted if self.settings.trials is None else min(wanted, self._spare())

    def _affordable(self, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """Return the baselines that fit their share of the budget, cheapest first; the others get a journal row."""
        room, recorded = self.settings.baseline_seconds, self._replay.digests(0)
        if recorded is not None or room is None:
            return tuple(p for p in proposals if recorded is None or p.genotype.digest in recorded)
        kept: list[int] = []
        spent = 0.0
        for seconds, number, proposal in sorted((self.seconds_of(p.genotype), i, p) for i, p in enumerate(proposals)):
            if kept and spent + seconds > room:
                reason = f"needs about {seconds:.0f} s, {max(0.0, room - spent):.0f} s of the baselines' share are left"
                self._replay.skipped(proposal.reason.removeprefix("baseline "), reason)
                continue
            spent += seconds
            kept.append(number)
        return tuple(proposals[number] for number in sorted(kept))

    # --- one batch --------------------------------------------------------------------------------------------------------------

    def _asked(self, index: int, size: int) -> tuple[Proposal, ...]:
        rng = np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=(_ASK, index)))
        with guarded("proposing"):
            return tuple(self.session.ask(size, rng))[:size]

    def _batch(self, index: int, proposals: Sequence[Proposal], ladder: tuple[float, ...]) -> None:
        """Evaluate a batch up the ladder and tell it, in trial order."""
        first = len(self.trials)
        self._replay.propose(index, first, proposals)
        running = {first + offset: self._begin(first + offset, proposal) for offset, proposal in enumerate(proposals)}
        climbing = list(running)
        for rung, share in enumerate(ladder):
            if rung:
                climbing = self._promoted(running, climbing)
            self._evaluate([running[number] for number in climbing], rung, share, running)
            if self._cut:
                break
        finished = [running[number] for number in sorted(running)]
        self.trials += finished
        if not self._cut:
            with guarded("being told a batch"):
                self.session.tell(finished)
            self._replay.tell(index, [trial.number for trial in finished])
        self.journal.flush()
        places = [(number, rung) for number in running for rung in range(len(ladder))]
        self._keeper.tidy(finished, [self._evaluations[place] for place in places if place in self._evaluations])

    def _begin(self, number: int, proposal: Proposal) -> Trial:
        return Trial(
            number,
            proposal.genotype,
            "stopped",
            parent=proposal.parent,
            evaluator=self.settings.evaluator,
            seed=self.settings.seed,
            error=_UNTRIED,
            reason=proposal.reason,
        )

    def _climbs(self, trial: Trial) -> bool:
        name = trial.genotype.get(str(trial.genotype.get("pipeline")))
        return any(offer.id == name and offer.trained for offer in self.offers)

    def _promoted(self, running: dict[int, Trial], numbers: Sequence[int]) -> list[int]:
        """Return the best 1/eta of the trials that can climb; the others of them are `stopped`."""
        able = [running[number] for number in numbers if running[number].status == "complete" and self._climbs(running[number])]
        best = {trial.number for trial in order_best_first(able)[: math.ceil(len(able) / self.settings.eta)]}
        for trial in able:
            if trial.number not in best:
                running[trial.number] = replace(trial, status="stopped")
        return sorted(best)

    def _evaluate(self, trials: Sequence[Trial], rung: int, share: float, running: dict[int, Trial]) -> None:
        """Evaluate trials at one rung; equal candidates are trained once, by the one with the lowest number."""
        queue: deque[tuple[Trial, float]] = deque()
        copies: list[tuple[Trial, _Place]] = []
        for trial in trials:
            effective, place = share if self._climbs(trial) else 1.0, (trial.number, rung)
            key = training_key(trial.genotype, self.schema, self.kernel)
            source = self._known.setdefault(f"{key}/{effective}", place)
            if source == place and self._converged(trial.number, rung - 1):
                source = trial.number, rung - 1
            if source != place:
                copies.append((trial, source))
            elif place in self._replay.results:
                self._settle(trial, rung, self._replay.results[place], running)
            else:
                queue.append((trial, effective))
        for trial, found in self._arriving(queue, rung):
            self._settle(trial, rung, self._replay.write(trial.number, rung, found, self._seconds()), running)
        for trial, source in copies:
            self._copy(trial, rung, source, running)

    def _converged(self, number: int, rung: int) -> bool:
        """Return whether a trial's own training stopped by itself; what a copy was made of may have lost its artefacts since."""
        before = self._evaluations.get((number, rung))
        return before is not None and bool(before.details.get(CONVERGED)) and before.details.get("same_as", number) == number

    def _arriving(self, queue: deque[tuple[Trial, float]], rung: int) -> Iterator[tuple[Trial, Evaluation]]:
        """Yield results as they arrive; what is still queued when the time is up is dropped, unless nothing has completed yet."""
        waiting: dict[Future[Evaluation], Trial] = {}
        limit = self.settings.parallel or len(queue)
        while queue or waiting:
            while queue and len(waiting) < limit and not any(future.done() for future in waiting):
                if self._late() and self.best is not None:
                    self._cut = True
                    queue.clear()
                    break
                trial, share = queue.popleft()
                task = self.settings.task_for(trial.number, rung, share, trial.genotype, trial.parent, self._left())
                waiting[self.submit(task)] = trial
            done, _ = wait(waiting, return_when=FIRST_COMPLETED) if waiting else (set(), None)
            for future in sorted(done, key=lambda one: waiting[one].number):
                yield waiting.pop(future), future.result()

    def _copy(self, trial: Trial, rung: int, source: _Place, running: dict[int, Trial]) -> None:
        original = self._evaluations.get(source)
        if original is None:  # the budget ended before it was tried
            return
        found = self._replay.results.get((trial.number, rung))
        if found is None:
            measured = original.measured if source[0] == trial.number else {}  # its own lower rung
            trained = original.details.get("same_as", source[0])  # whose seed and artefacts they are
            copied = replace(original, details={**original.details, "same_as": trained}, measured=measured)
            found = self._replay.write(trial.number, rung, copied, self._seconds())
        self._settle(trial, rung, found, running)

    def _settle(self, trial: Trial, rung: int, found: Evaluation, running: dict[int, Trial]) -> None:
        """Give a trial its result; a higher rung that fails or falls behind takes away only what was provisional."""
        self._evaluations[trial.number, rung] = found
        settled = replace(
            trial,
            status=found.status,
            rung=rung,
            metrics=found.metrics,
            objectives=self.settings.goal.of(found),
            cost=found.cost,
            measured=found.measured,
            error=found.error,
            artefacts=found.artefacts,
            details=found.details,
        )
        reached = trial.status == "complete" and not trial.details.get(PROVISIONAL)
        if reached and (settled.status != "complete" or settled.value < trial.value):
            settled = trial
        running[trial.number] = settled
        again = self.best is not None and self.best.number == settled.number
        self.best = best_of((*self.trials, *running.values()) if again else (self.best, settled))
        self.kernel.observe("trial_finished", trial=settled)
        if self.progress is not None:
            self.progress(settled, self)

    def _seconds(self) -> float | None:
        return None if self.elapsed is None else round(self.elapsed(), 3)
