from __future__ import annotations

import numpy as np
import pytest
from planted import SPACE, search

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Gene, Int, SearchSpace
from autorec_search.auto import AutoStrategy
from autorec_search.problems import stacked
from autorec_search.profile import Profile

NUMBERS = SearchSpace([*(Gene(f"x{i}", Float(0, 1), 0.5) for i in range(9)), Gene("n", Int(1, 64), 8)])
WIDE = SearchSpace(Gene(f"g{i}", Choice(*"abc"), "a") for i in range(45))
TINY = SearchSpace([Gene("a", Bool(), True), Gene("b", Choice(*"abc"), "a")])


def auto(**options: object) -> AutoStrategy:
    return AutoStrategy(AutoStrategy.Config(**options))  # type: ignore[arg-type]


def test_a_profile_counts_what_can_be_active_at_once() -> None:
    found = Profile.of(SPACE, 1, None)
    assert found.active == 8  # model, four of gru's and its tied, rate, batch, activation, less none: fm's rank is another branch
    assert found.numeric == pytest.approx(4 / 9)  # rank, dims, dropout, learning rate; layers wake another gene
    assert Profile.of(stacked(4), 1, None).active == 9
    assert Profile.of(TINY, 1, None).size == 6


@pytest.mark.parametrize(
    ("space", "options", "strategy", "chosen"),
    [
        (NUMBERS, {}, "bayes/tpe", {"sampler": "gp"}),
        (NUMBERS, {"trials": 1000}, "bayes/tpe", {"sampler": "cma"}),
        (WIDE, {}, "evolution/evolution", {}),
        (SPACE, {}, "bayes/tpe", {}),
        (TINY, {"trials": 6}, "search/random", {}),
        (TINY, {"trials": 5}, "evolution/evolution", {"startup": 4}),
        (SPACE, {"trials": 48}, "evolution/evolution", {"startup": 4}),
        (SPACE, {"trials": 49}, "bayes/tpe", {}),
    ],
)
def test_profiles_lead_to_decisions(space: SearchSpace, options: dict[str, object], strategy: str, chosen: dict[str, object]) -> None:
    session = auto(**options).start(space, ("m",))
    assert (session.decision.strategy, dict(session.decision.options)) == (strategy, chosen)
    assert f"auto: {strategy}" in session.ask(1, np.random.default_rng(0))[0].reason
    assert session.decision.reason in session.ask(1, np.random.default_rng(0))[0].reason


def test_it_proposes_what_the_chosen_strategy_proposes() -> None:
    mine = search(auto(), 3, budget=30)
    chosen = search(Kernel.discover().create("search-strategy", "bayes/tpe"), 3, budget=30)
    assert [trial.genotype for trial in mine] == [trial.genotype for trial in chosen]
    assert [trial.reason.split(" (auto")[0] for trial in mine] == [trial.reason for trial in chosen]


def test_the_chosen_session_is_told_its_own_reasons() -> None:
    session = auto().start(SPACE, ("m",))
    asked = session.ask(2, np.random.default_rng(0))
    session.tell([Trial(n, p.genotype, "complete", (0.0,), reason=p.reason) for n, p in enumerate(asked)])
    assert [trial.reason for trial in session._inner._told.values()] == ["startup draw"] * 2  # type: ignore[attr-defined]


def test_what_is_left_out_gives_its_place_to_the_next_choice() -> None:
    assert auto(without=("bayes/tpe",)).start(SPACE, ("m",)).decision.strategy == "evolution/evolution"
    none = auto(without=("bayes/tpe", "evolution/evolution", "progressive/progressive")).start(SPACE, ("m",))
    assert none.decision.strategy == "search/random"


def test_without_any_other_plugin_it_searches_at_random_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Kernel({})
    monkeypatch.setattr(Kernel, "discover", classmethod(lambda cls, **options: bare))
    session = auto().start(SPACE, ("m",))
    assert session.decision.strategy == "search/random"
    assert "not usable: bayes/tpe, evolution/evolution, progressive/progressive" in session.decision.reason
    assert "random draw (auto: search/random" in session.ask(1, np.random.default_rng(0))[0].reason
