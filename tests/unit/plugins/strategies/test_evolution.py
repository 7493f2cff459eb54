from __future__ import annotations

import random

import numpy as np
import pytest
from planted import SPACE, finds, search, value, wins_against_random

from autorec_evolution.evolution import Evolution
from autorec_evolution.toolbox import local_random
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Choice, Float, Gene, Genotype, SearchSpace
from autorec_search.problems import volume
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

    def area(strategy: object, seed: int) -> float:
        trials = search(strategy, seed, budget=120, objectives=objectives)  # type: ignore[arg-type]
        return volume([trial.objectives for trial in trials], (-3.0, -12.0))

    other = RandomSearch(RandomSearch.Config())
    assert sum(area(STRATEGY, seed) > area(other, 1000 + seed) for seed in range(20)) >= 16  # 8 of 10


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


def test_the_planted_point_is_found_more_often_than_by_random_search() -> None:
    assert finds(STRATEGY, range(30)) >= 12 + finds(RandomSearch(RandomSearch.Config()), range(30))


def test_parents_are_drawn_as_in_ageing_evolution() -> None:
    """Real et al. 2019, algorithm 1: the best of S draws with replacement is rank k of P with chance ((P-k)^S - (P-k-1)^S) / P^S."""
    size, sample = 10, 3
    session = Evolution(Evolution.Config(population=size, startup=1, tournament=sample, crossover=0.0)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(n, SPACE.sample(rng), "complete", (100.0,)) for n in range(7)])  # dead by now, though the best
    session.tell([Trial(n, SPACE.sample(rng), "complete", (float(-n),)) for n in range(7, 7 + size)])
    parents = [proposal.parent for seed in range(40) for proposal in session.ask(25, np.random.default_rng(seed))]
    chance = [((size - k) ** sample - (size - k - 1) ** sample) / size**sample for k in range(size)]
    counts = [parents.count(7 + k) for k in range(size)]
    assert sum(counts) == 1000
    assert sum((count - 1000 * p) ** 2 / (1000 * p) for count, p in zip(counts, chance, strict=True)) < 27.9  # 99.9 % of χ²(9)


def survivors(points: list[tuple[float, ...]], size: int) -> set[int]:
    """NSGA-II's survivors by the definitions of Deb et al. 2002: fronts peeled off, the last one cut by crowding distance."""
    left, kept = set(range(len(points))), set()
    while len(kept) < size:
        front = [
            i
            for i in left
            if not any(all(a >= b for a, b in zip(points[j], points[i], strict=True)) and points[j] != points[i] for j in left)
        ]
        if len(kept) + len(front) > size:
            distance = dict.fromkeys(front, 0.0)
            for k in range(2):
                row = sorted(front, key=lambda i, k=k: points[i][k])  # type: ignore[misc]
                width = points[row[-1]][k] - points[row[0]][k]
                distance[row[0]] = distance[row[-1]] = float("inf")
                for before, at, after in zip(row, row[1:], row[2:], strict=False):
                    distance[at] += (points[after][k] - points[before][k]) / width
            front = sorted(front, key=lambda i: -distance[i])[: size - len(kept)]
        kept |= set(front)
        left -= set(front)
    return kept


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 7, 8, 9])  # in 6 two ends of a front are equally lonely
def test_survivors_are_those_of_nsga_ii(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(a), float(b)) for a, b in rng.standard_normal((40, 2))]
    session = Evolution(Evolution.Config(population=12)).start(PLANE, ("a", "b"))
    session.tell([Trial(number, PLANE.sample(rng), "complete", point) for number, point in enumerate(points)])
    assert set(session._alive) == survivors(points, 12)


def test_nsga_ii_prefers_dominating_then_lonely_parents() -> None:
    session = Evolution(Evolution.Config(population=8, startup=1, crossover=0.0)).start(PLANE, ("a", "b"))
    rng = np.random.default_rng(0)
    front = [(0.0, 10.0), (10.0, 0.0), (4.9, 5.1), (5.0, 5.0), (5.1, 4.9)]  # 3 is the most crowded one
    behind = [(-1.0, -1.0), (-2.0, -2.0), (-3.0, -3.0)]
    session.tell([Trial(number, PLANE.sample(rng), "complete", pair) for number, pair in enumerate(front + behind)])
    parents = [proposal.parent for seed in range(20) for proposal in session.ask(40, np.random.default_rng(seed))]
    counts = [parents.count(number) for number in range(8)]
    assert min(counts[:2]) > 1.3 * counts[3]
    assert counts[3] > counts[5] > counts[6]
    assert counts[7] == 0  # dominated by every other one, it never wins


def test_the_front_never_shrinks_from_batch_to_batch() -> None:
    session = Evolution(Evolution.Config(population=10, startup=1)).start(PLANE, ("a", "b"))
    rng = np.random.default_rng(0)
    before = 0.0
    for batch in range(20):
        told = [Trial(4 * batch + i, PLANE.sample(rng), "complete", tuple(rng.standard_normal(2).tolist())) for i in range(4)]
        session.tell(told)
        now = volume([one.fitness.values for one in session._alive.values()], (-5.0, -5.0))
        assert now >= before - 1e-12
        before = now


def test_children_take_whole_subtrees_where_their_parents_differ() -> None:
    space = SearchSpace(
        [
            Gene("kind", Choice("p", "q"), "p"),
            *(Gene(f"{kind}.{i}", Choice(*range(50)), 0, "kind", (kind,)) for kind in "pq" for i in range(3)),
            Gene("rate", Choice(*range(50)), 0),
        ]
    )
    one = space.canonical({"kind": "p", "p.0": 1, "p.1": 1, "p.2": 1, "rate": 1})
    two = space.canonical({"kind": "q", "q.0": 2, "q.1": 2, "q.2": 2, "rate": 2})
    session = Evolution(Evolution.Config(startup=1, crossover=1.0)).start(space, ("m",))
    session.tell([Trial(0, one, "complete", (1.0,)), Trial(1, two, "complete", (1.0,))])
    asked = [proposal.genotype for seed in range(30) for proposal in session.ask(2, np.random.default_rng(seed))]
    own = {"p": {1}, "q": {2}}
    changed = [sum(value not in own[str(g["kind"])] for name, value in g.items() if "." in name) for g in asked]
    pure = [g for g, count in zip(asked, changed, strict=True) if count == 0]
    assert {(g["kind"], g["rate"]) for g in pure} >= {("p", 2), ("q", 1)}
    assert np.mean([count <= 1 for count in changed]) > 0.5
