from __future__ import annotations

import logging
import time
import warnings

import numpy as np
import pytest
from planted import SPACE, search, wins_against_random

from autorec_bayes.encoding import decode, encode
from autorec_bayes.tpe import TreeParzen
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Choice, Float, Floats, Gene, Genotype, Int, SearchSpace
from autorec_search.random_search import RandomSearch


@pytest.mark.parametrize("seed", range(20))
def test_decoding_undoes_encoding(seed: int) -> None:
    genotype = SPACE.sample(np.random.default_rng(seed))
    params, distributions = encode(SPACE, genotype)
    assert params.keys() == distributions.keys()
    assert decode(SPACE, lambda name, distribution: params[name]) == genotype


def test_options_that_python_calls_equal_stay_apart() -> None:
    space = SearchSpace([Gene("a", Choice(1, True, 1.0), True), Gene("f", Floats(Float(0, 1), length=Int(0, 2)), ())])
    for point in (space.canonical({"a": option, "f": [0.5]}) for option in (1, True, 1.0)):
        params, _ = encode(space, point)
        assert decode(space, lambda name, distribution, params=params: params[name]) == point


def test_it_beats_random_search_at_equal_budget() -> None:
    assert wins_against_random(TreeParzen(TreeParzen.Config()), RandomSearch(RandomSearch.Config())) >= 15


def test_the_first_proposals_are_random_and_later_ones_modelled() -> None:
    trials = search(TreeParzen(TreeParzen.Config(startup=10)), 0, budget=20)
    assert [trial.reason for trial in trials] == ["startup draw"] * 10 + ["tpe draw"] * 10


def test_failed_trials_neither_count_as_startup_nor_come_back() -> None:
    session = TreeParzen(TreeParzen.Config(startup=4)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    failed = [Trial(number, SPACE.sample(rng), "failed", error="on purpose") for number in range(30)]
    session.tell(failed)
    asked = session.ask(10, np.random.default_rng(1))
    assert {proposal.reason for proposal in asked} == {"startup draw"}
    assert not {proposal.genotype for proposal in asked} & {trial.genotype for trial in failed}


def test_two_objectives_move_towards_both_ends_of_the_front() -> None:
    space = SearchSpace([Gene("x", Float(0, 1), 0.5), Gene("y", Float(0, 1), 0.5)])

    def objectives(genotype: Genotype) -> tuple[float, ...]:
        x, y = float(genotype["x"]), float(genotype["y"])  # type: ignore[arg-type]
        return x - y, -x - y  # the front is y = 0

    def late(strategy: object) -> float:
        runs = [search(strategy, seed, budget=60, space=space, objectives=objectives)[30:] for seed in range(5)]  # type: ignore[arg-type]
        return float(np.mean([trial.genotype["y"] for run in runs for trial in run]))

    assert late(TreeParzen(TreeParzen.Config())) < 0.6 * late(RandomSearch(RandomSearch.Config()))


def test_a_long_history_is_cut_to_the_best_quarter_and_the_newest() -> None:
    session = TreeParzen(TreeParzen.Config(history=20)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(number, SPACE.sample(rng), "complete", (-float(number),)) for number in range(100)])
    assert [trial.number for trial in session._history()] == [0, 1, 2, 3, 4, *range(85, 100)]


def test_a_promoted_trial_replaces_its_lower_rung() -> None:
    session = TreeParzen(TreeParzen.Config()).start(SPACE, ("m",))
    genotype = SPACE.default()
    session.tell([Trial(0, genotype, "complete", (2.0,), rung=1), Trial(0, genotype, "complete", (1.0,), rung=0)])
    assert [trial.objectives for trial in session._history()] == [(2.0,)]


def test_optuna_says_nothing_and_its_level_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("optuna").level
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        search(TreeParzen(TreeParzen.Config(multivariate=True)), 0, budget=15)
    assert raised == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level == level


def test_a_proposal_stays_cheap_after_a_long_history() -> None:
    kinds = ((Int(1, 100, log=True), 5), (Float(0, 1), 0.5), (Choice(*range(5)), 2))
    space = SearchSpace(Gene(f"g{i}", *kinds[i % 3]) for i in range(20))
    session = TreeParzen(TreeParzen.Config()).start(space, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(number, space.sample(rng), "complete", (float(rng.random()),)) for number in range(200)])
    session.ask(1, np.random.default_rng(0))
    started = time.process_time()
    session.ask(10, np.random.default_rng(1))
    assert (time.process_time() - started) / 10 < 0.15  # about 0.03 s on an idle core
