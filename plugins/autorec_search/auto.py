"""`auto`: looks at the space, picks another strategy and says why in the reason of every proposal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.search import Advice, SearchProfile
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import SearchSpace
from autorec_search.profile import Decision, Profile, decisions
from autorec_search.random_search import RandomSearch

if TYPE_CHECKING:
    import numpy as np

    from autorec_kernel.contracts.search import SearchSession

__all__ = ["AutoSession", "AutoStrategy"]

_KIND = "search-strategy"
_PLUGINS = ("bayes", "evolution", "progressive")
_FULL = "training/full"
_FEW = 12  # candidates below which a first rung has hardly anything to compare: three batches
_MANY = 24  # candidates from which what an early look misses is made up for by what it saves
_HUNDREDS = 100  # candidates from which batches of sixteen leave enough of them to learn from
# one epoch of 40: Kendall's tau with the best of all epochs is .66 on ml-100k clicks (48 candidates)
_EARLY: Mapping[str, Any] = {"rungs": (0.025, 1.0), "eta": 4, "batch": 8}
_EARLIER: Mapping[str, Any] = {"rungs": (0.025, 1.0), "eta": 8, "batch": 16}
# of 33 trainings that climbed on ml-100k clicks none got better again after an epoch that was worse
_IMPATIENT: Mapping[str, Any] = {"patience": 1}


class AutoStrategy:
    """Decides by the profile of the space (`profile.decisions`); what is not installed leaves its place to the next choice.

    A strategy is started with the space alone, so the expected number of trials is an option here, and neither evaluator nor budget
    is decided. The choice depends on which plugins are installed: a run goes on under the same ones only.
    """

    class Config(ComponentConfig):
        """Options of the choice."""

        trials: int | None = Field(None, ge=1, le=1_000_000_000, description="Expected number of trials; None = unknown.")
        without: tuple[str, ...] = Field((), description="Ids of strategies that are not chosen, such as bayes/tpe.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def advise(self, profile: SearchProfile) -> Advice:
        """Return the strategy for the space and for as many candidates as the search can train, and rungs where they pay.

        Rankers of clicks show early what they are worth; of ratings and of retrievers that has not been measured, so their rungs stay.
        """
        trials = self.config.trials or profile.expected
        wanted = decisions(Profile.of(profile.space, profile.objectives, trials))
        able = [one for one in wanted if one.strategy in profile.strategies and one.strategy not in self.config.without]
        chosen = able[0] if able else wanted[-1]
        changes: dict[str, Any] = {"strategy": chosen.strategy, "strategy_options": dict(chosen.options)}
        count = "an unknown number of" if trials is None else f"about {trials}"
        reason = f"{chosen.strategy} for {count} candidates: {chosen.reason}"
        if profile.evaluator != _FULL or "epochs" in profile.options:
            return Advice(changes, reason)  # what a rung means there has not been measured
        if trials is not None and trials < _FEW:
            changes["rungs"] = (1.0,)
            reason += "; each is trained to its end, too few to compare half-way"
        elif trials is not None and trials >= _MANY and profile.task == "click":
            many = trials >= _HUNDREDS
            changes |= _EARLIER if many else _EARLY
            reason += f"; the best {'eighth of sixteen' if many else 'quarter of eight'} is trained beyond the first epoch or two"
            if not profile.options:
                changes["evaluator_options"] = dict(_IMPATIENT)
                reason += ", until an epoch is worse"
        return Advice(changes, reason)

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> AutoSession:
        """Pick a strategy and begin its search."""
        wanted = decisions(Profile.of(space, max(1, len(objectives)), self.config.trials))
        decision, strategy = _first_usable([one for one in wanted if one.strategy not in self.config.without], wanted[-1])
        return AutoSession(strategy.start(space, objectives), decision)


class AutoSession:
    """Hands everything on to the chosen strategy's session.

    Args:
        inner: The session that searches.
        decision: Why it is this one.
    """

    def __init__(self, inner: SearchSession, decision: Decision) -> None:
        self._inner = inner
        self.decision = decision
        options = ", ".join(f"{name} {value}" for name, value in decision.options.items())
        self._mark = f" (auto: {decision.strategy}{', ' if options else ''}{options}; {decision.reason})"

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return the chosen strategy's proposals, with the decision after their reason."""
        return tuple(replace(proposal, reason=proposal.reason + self._mark) for proposal in self._inner.ask(count, rng))

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take a batch; the chosen strategy reads its own reasons."""
        self._inner.tell([replace(trial, reason=trial.reason.removesuffix(self._mark)) for trial in trials])


def _first_usable(wanted: Sequence[Decision], last: Decision) -> tuple[Decision, Any]:
    """Return the first decision whose strategy is installed and usable, made; random search needs no plugin."""
    kernel = Kernel.discover(allowed=_PLUGINS)
    usable = {row.id for row in kernel.components(_KIND) if row.usable}
    for decision in wanted:
        if decision.strategy in usable:
            return decision, kernel.create(_KIND, decision.strategy, **decision.options)
    missing = [decision.strategy for decision in wanted if decision.strategy != last.strategy]
    told = f"{last.reason}; not usable: {', '.join(missing)}" if missing else last.reason
    return replace(last, reason=told), RandomSearch(RandomSearch.Config())
