"""Contracts of the search: strategies only propose; the kernel owns the loop, the budget, the rungs and the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import SearchSpace

__all__ = ["ADVISED", "Advice", "Adviser", "SearchProfile", "SearchSession", "SearchStrategy"]

ADVISED = ("strategy", "strategy_options", "evaluator", "evaluator_options", "rungs", "eta", "schedule", "batch")  # keys of a recipe


@runtime_checkable
class SearchSession(Protocol):
    """One search under way.

    Laws: a session keeps no randomness between batches: it is a pure function of (space, told batches, this batch's rng), so that
    telling a fresh session the journal again gives the same proposals. `ask` and `tell` alternate. Every proposed genotype is
    canonical and legal in the space; `ask` returns exactly `count` proposals.
    """

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` proposals; randomness comes from `rng` only, never from a global seed."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take one whole batch in trial order: complete, failed, stopped and foreign trials too (objectives are maximised)."""
        ...


@runtime_checkable
class SearchStrategy(Protocol):
    """A way to choose the next candidates."""

    Config: ClassVar[type[ComponentConfig]]

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> SearchSession:
        """Begin a search over `space`; `objectives` names the values that trials carry, all to be maximised."""
        ...


@dataclass(frozen=True, slots=True)
class SearchProfile:
    """What is known of a search before its first trial.

    Args:
        space: What `evaluator` searches.
        evaluator: Id of the recipe's, or of the preferred one.
        options: What the recipe states of its options.
        rows: Training rows.
        trials: How many were asked for; None with a budget of time.
        seconds: Wall-clock seconds of the search; None without a budget of time.
        candidate_seconds: Predicted seconds of one full training, the median over the blueprints at their defaults.
        strategies: Ids of those that are usable.
        evaluators: Ids of those that are usable.
    """

    task: str
    space: SearchSpace
    evaluator: str
    options: Mapping[str, Any]
    rows: int
    users: int
    items: int
    objectives: int
    trials: int | None
    seconds: float | None
    workers: int
    candidate_seconds: float
    strategies: tuple[str, ...]
    evaluators: tuple[str, ...]

    @property
    def expected(self) -> int | None:
        """Return how many candidates the search can train: those asked for, or what the time has room for; None where nobody knows."""
        if self.trials is not None or self.seconds is None or self.candidate_seconds <= 0:
            return self.trials
        return max(1, int(self.seconds * self.workers / self.candidate_seconds))


@dataclass(frozen=True, slots=True)
class Advice:
    """What to fill in where a recipe is silent.

    Args:
        changes: Key of a recipe, one of `ADVISED` → value.
        reason: For a person, with the figures it rests on.
    """

    changes: Mapping[str, Any]
    reason: str


@runtime_checkable
class Adviser(Protocol):
    """A component tagged `adviser` among the strategies: it is asked before a search whose strategy is left open.

    Law: the same profile gives the same advice; it names usable components only.
    """

    def advise(self, profile: SearchProfile) -> Advice:
        """Return what suits the search."""
        ...
