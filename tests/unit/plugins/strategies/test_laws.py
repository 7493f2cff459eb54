"""What every strategy keeps beyond the conformance kit: no repeats, spaces that end, long histories."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from planted import SPACE, search

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Gene, Genotype, Int, SearchSpace

KERNEL = Kernel.discover(allowed=("bayes", "evolution", "progressive", "reinforce", "search"))
IDS = [row.id for row in KERNEL.components("search-strategy")]
DOZEN = SearchSpace([Gene("a", Bool(), True), Gene("b", Int(1, 6), 1)])
POINT = SearchSpace([Gene("only", Choice("one"), "one"), Gene("fixed", Float(0.5, 0.5), 0.5)])


def made(name: str) -> Any:
    return KERNEL.create("search-strategy", name)


def test_all_six_are_here() -> None:
    assert {"bayes/tpe", "evolution/evolution", "progressive/progressive", "reinforce/controller", "search/auto", "search/random"} == set(
        IDS
    )


@pytest.mark.parametrize("name", IDS)
def test_nothing_is_proposed_twice_and_a_small_space_is_covered(name: str) -> None:
    trials = search(made(name), 0, budget=12, batch=3, space=DOZEN, objectives=lambda g: (float(g["b"]),))  # type: ignore[arg-type]
    assert {trial.genotype for trial in trials} == set(DOZEN.points())


@pytest.mark.parametrize("name", IDS)
def test_an_exhausted_space_and_a_single_point_still_answer(name: str) -> None:
    assert len(search(made(name), 0, budget=40, batch=4, space=DOZEN, objectives=lambda g: (0.0,))) == 40
    trials = search(made(name), 0, budget=30, batch=3, space=POINT, objectives=lambda g: (1.0,))
    assert {trial.genotype for trial in trials} == {POINT.default()}


@pytest.mark.parametrize("name", IDS)
def test_what_others_tried_is_not_proposed_again(name: str) -> None:
    session = made(name).start(DOZEN, ("m",))
    others = list(DOZEN.points())[:9]
    endings = ("complete", "failed", "infeasible", "oom")
    session.tell([Trial(n, g, endings[n % 4], (0.0,) if n % 4 == 0 else ()) for n, g in enumerate(others)])  # type: ignore[arg-type]
    asked = {proposal.genotype for proposal in session.ask(3, np.random.default_rng(0))}
    assert asked == set(DOZEN.points()) - set(others)


@pytest.mark.parametrize("name", IDS)
def test_asking_is_a_function_of_what_was_told_and_of_the_generator(name: str) -> None:
    trials = search(made(name), 1, budget=40, batch=4)
    asked = []
    for _ in range(2):
        session = made(name).start(SPACE, ("m",))
        for start in range(0, 40, 4):
            session.tell(trials[start : start + 4])
        asked.append((session.ask(4, np.random.default_rng(9)), session.ask(4, np.random.default_rng(9))))
    assert asked[0] == asked[1]
    assert asked[0][0] == asked[0][1]
    assert asked[0][0] != session.ask(4, np.random.default_rng(10))


def test_ten_thousand_told_trials_do_not_slow_random_search_down() -> None:
    session = made("search/random").start(SPACE, ("m",))
    rng = np.random.default_rng(0)

    def seconds(count: int, first: int) -> float:
        began = time.process_time()
        for number in range(first, first + count, 4):
            asked = session.ask(4, rng)
            session.tell([Trial(number + i, p.genotype, "complete", (0.0,)) for i, p in enumerate(asked)])
        return time.process_time() - began

    early = seconds(1000, 0)
    seconds(8000, 1000)
    assert seconds(1000, 9000) < 3 * early + 0.1


@pytest.mark.parametrize("name", ["evolution/evolution", "progressive/progressive", "reinforce/controller"])
@pytest.mark.parametrize("objectives", [1, 2])
def test_a_thousand_told_trials_leave_proposals_cheap(name: str, objectives: int) -> None:
    session = made(name).start(SPACE, ("a", "b")[:objectives])
    rng = np.random.default_rng(0)
    drawn: list[Genotype] = [SPACE.sample(rng) for _ in range(1000)]
    session.tell([Trial(n, g, "complete", tuple(rng.random(objectives).tolist())) for n, g in enumerate(drawn)])
    session.ask(1, rng)
    began = time.process_time()
    session.ask(8, rng)
    assert (time.process_time() - began) / 8 < 0.15  # about 5 ms on an idle core
