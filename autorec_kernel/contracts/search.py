"""Contracts of the search: strategies only propose; the kernel owns the loop, the budget, the rungs and the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import SearchSpace

__all__ = ["SearchSession", "SearchStrategy"]


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
