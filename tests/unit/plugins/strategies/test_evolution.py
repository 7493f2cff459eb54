from __future__ import annotations

import random

import numpy as np
import pytest
from planted import SPACE, search, value, wins_against_random

from autorec_evolution.evolution import Evolution
from autorec_evolution.toolbox import local_random
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Float, Gene, Genotype, SearchSpace
from autorec_search.random_search import RandomSearch

STRATEGY = Evolution(Evolution.Config())
PLANE = SearchSpace([Gene("x", Float(0, 1), 0.5), Gene("y", Float(0, 1), 0.5)])


def test_it_beats_random_search_at_equal_budget() -> None:
    assert wins_against_random(STRATEGY, RandomSearch(RandomSearch.Config()), seeds=30) >= 24


def test_children_name_the_trial_they_come_from() -> None:
    trials = search(STRATEGY, 0, budget=40)
    children = [trial for trial in trials if trial.parent is not None]
    assert len(children) >= 20
    for child in children:
        assert child.parent is not None and child.parent < child.number
        assert str(child.parent) in child.reason


def test_a_pure_mutation_changes_one_gene_of_its_parent() -> None:
    flat = SearchSpace(Gene(f"g{i}", Float(0, 1), 0.5) for i in range(6))
    config = Evolution.Config(crossover=0.0, mutation=0.0, startup=4)
    trials = search(Evolution(config), 0, budget=30, space=flat, objectives=lambda g: (float(g["g0"]),))  # type: ignore[arg-type]
    for child in (trial for trial in trials if trial.parent is not None):
        assert sum(child.genotype[name] != trials[child.parent or 0].genotype[name] for name in flat) == 1


def test_the_old_die_even_when_they_are_good() -> None:
    session = Evolution(Evolution.Config(population=10, startup=5)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(number, SPACE.sample(rng), "complete", (-float(number),)) for number in range(40)])
    parents = {proposal.parent for proposal in session.ask(50, np.random.default_rng(1))}
    assert parents <= set(range(30, 40))


def test_a_tournament_prefers_the_better_half() -> None:
    session = Evolution(Evolution.Config(population=20, startup=5)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(number, SPACE.sample(rng), "complete", (float(number),)) for number in range(20)])
    parents = [proposal.parent or 0 for proposal in session.ask(100, np.random.default_rng(1))]
    assert np.mean([parent >= 10 for parent in parents]) > 0.9


def test_with_two_objectives_the_front_survives() -> None:
    session = Evolution(Evolution.Config(population=6, startup=5)).start(PLANE, ("a", "b"))
    rng = np.random.default_rng(0)
    front = [(float(k), float(6 - k)) for k in range(6)]
    dominated = [(k / 10 - 5, float(-k)) for k in range(30)]
    session.tell([Trial(number, PLANE.sample(rng), "complete", pair) for number, pair in enumerate(front + dominated)])
    assert {proposal.parent for proposal in session.ask(60, np.random.default_rng(1))} <= set(range(6))


def test_two_objectives_reach_a_larger_hypervolume_than_random_search() -> None:
    def objectives(genotype: Genotype) -> tuple[float, ...]:
        return value(genotype), -float(len(genotype)) - 10 * float(genotype["learning_rate"])  # type: ignore[arg-type]

    def volume(trials: list[Trial]) -> float:
        pairs = sorted({trial.objectives for trial in trials}, reverse=True)
        total, height = 0.0, -12.0
        for first, second in pairs:
            if second > height and first > -3.0:
                total, height = total + (first + 3.0) * (second - height), second
        return total

    other = RandomSearch(RandomSearch.Config())
    mine = [volume(search(STRATEGY, seed, budget=120, objectives=objectives)) for seed in range(20)]
    drawn = [volume(search(other, 1000 + seed, budget=120, objectives=objectives)) for seed in range(20)]
    assert sum(a > b for a, b in zip(mine, drawn, strict=True)) >= 15


@pytest.mark.parametrize("population", [2, 3, 5, 7])
def test_small_populations_work_with_two_objectives(population: int) -> None:
    trials = search(
        Evolution(Evolution.Config(population=population, startup=1)),
        0,
        budget=30,
        batch=3,
        space=PLANE,
        objectives=lambda g: (float(g["x"]), float(g["y"])),  # type: ignore[arg-type]
    )
    assert len({trial.genotype for trial in trials}) == 30


def test_failed_trials_and_strangers_have_no_children() -> None:
    session = Evolution(Evolution.Config(startup=1)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(0, SPACE.sample(rng), "complete", (0.0,)), Trial(1, SPACE.sample(rng), "failed")])
    session.tell([Trial(2, Genotype({"elsewhere": 1}), "complete", (9.0,)), Trial(3, SPACE.sample(rng), "nan", (float("nan"),))])
    assert {proposal.parent for proposal in session.ask(20, np.random.default_rng(1))} <= {0, None}


def test_the_global_random_is_put_back_also_after_an_error() -> None:
    before = random.getstate()
    with pytest.raises(KeyError), local_random(np.random.default_rng(0)):
        random.random()
        raise KeyError
    assert random.getstate() == before
