from __future__ import annotations

import logging
import math
import time
import warnings

import numpy as np
import pytest
from planted import SPACE, finds, search, wins_against_random

from autorec_bayes.encoding import decode, encode
from autorec_bayes.numbers import Numbers, evolved
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


@pytest.mark.slow
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


BOWL = SearchSpace([*(Gene(f"x{i}", Float(0, 1), 0.5) for i in range(4)), Gene("n", Int(1, 256, log=True), 8)])


def depth_of(genotype: Genotype) -> tuple[float, ...]:
    away = [float(genotype[f"x{i}"]) - 0.3 - 0.1 * i for i in range(4)]  # type: ignore[arg-type]
    return (-sum(x * x for x in away) - 0.01 * abs(math.log2(float(genotype["n"])) - 3),)  # type: ignore[arg-type]


def lowest(strategy: object, seeds: range, budget: int) -> float:
    return float(np.median([-max(t.value for t in search(strategy, s, budget=budget, space=BOWL, objectives=depth_of)) for s in seeds]))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_gaussian_process_finds_the_bottom_of_a_bowl_closer_than_tpe() -> None:
    gp, tpe = (lowest(TreeParzen(TreeParzen.Config(sampler=sampler)), range(2), 25) for sampler in ("gp", "tpe"))  # type: ignore[arg-type]
    assert gp < 0.3 * tpe


@pytest.mark.slow
def test_cma_es_finds_the_bottom_of_a_bowl_closer_than_tpe() -> None:
    cma, tpe = (lowest(TreeParzen(TreeParzen.Config(sampler=sampler)), range(3), 200) for sampler in ("cma", "tpe"))  # type: ignore[arg-type]
    assert cma < 0.5 * tpe


def test_numbers_move_while_options_lengths_and_parents_stay() -> None:
    genotype = SPACE.canonical({"model": "gru", "gru.layers": 2, "gru.dims": (32, 64), "batch_size": 512})
    numbers = Numbers(SPACE, genotype)
    assert set(numbers.free) == {"gru.dims#0", "gru.dims#1", "gru.dropout", "learning_rate"}
    moved = numbers.genotype({"gru.dims#0": 17, "gru.dims#1": 200, "gru.dropout": 0.5, "learning_rate": 0.01})
    assert moved == SPACE.canonical({**genotype, "gru.dims": (17, 200), "gru.dropout": 0.5, "learning_rate": 0.01})
    assert numbers.of(encode(SPACE, moved)[0]) == {"gru.dims#0": 17, "gru.dims#1": 200, "gru.dropout": 0.5, "learning_rate": 0.01}
    for other in ({"gru.layers": 3}, {"gru.dims": (32,)}, {"batch_size": 128}, {"model": "mf"}):
        values = {name: value for name, value in {**genotype, **other}.items() if other != {"model": "mf"} or not name.startswith("gru.")}
        assert numbers.of(encode(SPACE, SPACE.canonical(values))[0]) is None


@pytest.mark.parametrize("sampler", ["gp", "cma"])
def test_every_other_proposal_keeps_the_choice_of_the_best_trial(sampler: str) -> None:
    session = TreeParzen(TreeParzen.Config(sampler=sampler, startup=4)).start(SPACE, ("m",))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    best = SPACE.canonical({"model": "gru", "gru.layers": 2})
    session.tell([Trial(n, SPACE.sample(rng), "complete", (-float(n),)) for n in range(1, 20)] + [Trial(20, best, "complete", (1.0,))])
    asked = session.ask(4, np.random.default_rng(1))
    local = [proposal.genotype for proposal in asked if proposal.reason == f"{sampler} draw"]
    assert len(local) == 2
    assert len({p.genotype for p in asked}) == 4
    numbers = Numbers(SPACE, best)
    assert all(numbers.of(encode(SPACE, genotype)[0]) is not None for genotype in local)


def test_cma_es_follows_its_told_generations() -> None:
    numbers = Numbers(BOWL, BOWL.default())
    rng = np.random.default_rng(0)
    told, losses = [], []
    for _ in range(48):
        params = {key: numbers.at(key, 0.2 + 0.02 * rng.standard_normal()) for key in numbers.free}
        told.append((params, (0.0,)))
        losses.append(sum((numbers.unit(key, value) - 0.2) ** 2 for key, value in params.items()))
    units = [numbers.unit(key, value) for row in evolved(numbers, told, losses, 20, 1) for key, value in row.items()]
    fresh = [numbers.unit(key, value) for row in evolved(numbers, [], [], 20, 1) for key, value in row.items()]
    assert np.mean(units) == pytest.approx(0.2, abs=0.06)
    assert np.mean(fresh) == pytest.approx(0.5, abs=0.1)
    assert np.std(units) < 0.5 * np.std(fresh)


@pytest.mark.parametrize("sampler", ["gp", "cma"])
def test_a_retold_search_by_numbers_proposes_the_same(sampler: str) -> None:
    config = TreeParzen.Config(sampler=sampler, startup=4)  # type: ignore[arg-type]
    trials = search(TreeParzen(config), 0, budget=15)
    sessions = [TreeParzen(config).start(SPACE, ("m",)) for _ in range(2)]
    asked = []
    for session in sessions:
        for start in range(0, 15, 5):
            session.tell(trials[start : start + 5])
        asked.append(session.ask(4, np.random.default_rng(3)))
    assert asked[0] == asked[1]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "cma"])
def test_numbers_move_with_two_objectives_too(sampler: str) -> None:
    space = SearchSpace([Gene("x", Float(0, 1), 0.5), Gene("y", Float(0, 1), 0.5)])
    config = TreeParzen.Config(sampler=sampler, startup=4)  # type: ignore[arg-type]
    trials = search(TreeParzen(config), 0, budget=15, space=space, objectives=lambda g: (float(g["x"]), -float(g["x"]) - float(g["y"])))  # type: ignore[arg-type]
    assert {trial.reason for trial in trials[5:]} == {f"{sampler} draw"}


def test_a_large_space_is_modelled_from_fewer_trials() -> None:
    space = SearchSpace(Gene(f"g{i}", Float(0, 1), 0.5) for i in range(60))
    session = TreeParzen(TreeParzen.Config()).start(space, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(number, space.sample(rng), "complete", (float(number),)) for number in range(120)])
    assert [trial.number for trial in session._history()] == list(range(100, 120))  # 1,200 / 60


def test_regions_that_fail_are_left() -> None:
    space = SearchSpace([Gene("x", Float(0, 1), 0.5), Gene("y", Float(0, 1), 0.5)])
    session = TreeParzen(TreeParzen.Config(startup=4)).start(space, ("m",))
    rng = np.random.default_rng(0)
    good = [space.canonical({"x": 0.5 * float(rng.random()), "y": float(rng.random())}) for _ in range(12)]
    bad = [space.canonical({"x": 0.5 + 0.5 * float(rng.random()), "y": float(rng.random())}) for _ in range(40)]
    told = [Trial(n, genotype, "complete", (float(rng.random()),)) for n, genotype in enumerate(good)]
    session.tell(told + [Trial(n, genotype, "infeasible") for n, genotype in enumerate(bad, 12)])
    asked = [p.genotype["x"] for batch in range(5) for p in session.ask(4, np.random.default_rng(batch))]
    assert np.mean([x < 0.5 for x in asked]) >= 0.8  # type: ignore[operator]


@pytest.mark.slow
def test_the_planted_point_is_found_more_often_than_by_random_search() -> None:
    assert finds(TreeParzen(TreeParzen.Config()), range(8)) >= 4 + finds(RandomSearch(RandomSearch.Config()), range(8))
