"""Defects of search strategies that hide well, each caught by the law it breaks."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import SearchSpace
from autorec_kernel.testing import SearchStrategyContract, Violation
from autorec_kernel.testing.checks import strategies


class Session:
    def __init__(self, space: SearchSpace) -> None:
        self.space, self.told = space, []

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        return rng

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        rng = self.generator(rng)
        return tuple(Proposal(self.space.sample(rng), self.parent()) for _ in range(count))

    def parent(self) -> int | None:
        return None

    def tell(self, trials: Sequence[Trial]) -> None:
        self.told += trials


class Sound:
    class Config(ComponentConfig):
        """No options."""

    session: ClassVar[Any] = Session

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> Any:
        return self.session(space)


class TestSound(SearchStrategyContract):
    component = Sound


class _Distinct(Session):
    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        return tuple({p.genotype: p for p in super().ask(count, rng)}.values())


class _List(Session):
    def ask(self, count: int, rng: np.random.Generator) -> Any:
        return list(super().ask(count, rng))


class _NeedsValues(Session):
    def tell(self, trials: Sequence[Trial]) -> None:
        super().tell(trials)
        assert not trials or max(trial.value for trial in trials) > float("-inf")


class _FirstObjective(Session):
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            trial.objectives[0]


class _ByClock(Session):
    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        return np.random.default_rng(int(time.time()) // 60)


class _GlobalDraw(Session):
    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        return np.random.default_rng(random.randrange(2**31))


class _SeedsGlobally(Session):
    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        random.seed(0)
        return rng


class _ClassMemory(Session):
    seen: ClassVar[list[int]] = []

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        return np.random.default_rng([len(self.seen), int(rng.integers(2**31))])

    def tell(self, trials: Sequence[Trial]) -> None:
        super().tell(trials)
        self.seen += [trial.number for trial in trials]


class _KeepsRng(Session):
    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        self.kept = getattr(self, "kept", rng)
        return self.kept


class _InventedParent(Session):
    def parent(self) -> int | None:
        return 10_000


_CASES = (
    (_Distinct, strategies.check_ask_gives_exactly_what_is_asked),
    (_List, strategies.check_ask_gives_exactly_what_is_asked),
    (_NeedsValues, strategies.check_failures_are_data),
    (_NeedsValues, strategies.check_proposals_are_legal),
    (_FirstObjective, strategies.check_proposals_are_legal),
    (_ByClock, strategies.check_sessions_are_pure),
    (_GlobalDraw, strategies.check_sessions_are_pure),
    (_SeedsGlobally, strategies.check_ask_uses_no_global_state),
    (_ClassMemory, strategies.check_sessions_share_nothing),
    (_KeepsRng, strategies.check_sessions_are_pure),
    (_InventedParent, strategies.check_proposals_are_explained),
)


@pytest.mark.parametrize(("session", "check"), _CASES, ids=[f"{s.__name__}-{c.__name__}" for s, c in _CASES])
def test_a_hidden_defect_of_a_strategy_is_caught(session: type[Session], check: Any) -> None:
    with pytest.raises((Violation, AssertionError, IndexError)):
        check(type("Defect", (Sound,), {"session": session}), Sound.Config())
