from __future__ import annotations

import numpy as np
import pytest
from planted import SPACE, search, wins_against_random

from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Floats, Gene, Genotype, Int, Ints, SearchSpace
from autorec_progressive.complexity import Ladder, complexity
from autorec_progressive.progressive import Progressive
from autorec_search.problems import stack, stacked
from autorec_search.random_search import RandomSearch

STRATEGY = Progressive(Progressive.Config())
RANDOM = RandomSearch(RandomSearch.Config())
DEEP = stacked(4)


def stage_of(trial: Trial) -> int:
    return int(trial.reason.split(":")[0].removeprefix("stage "))


def test_complexity_counts_what_growth_wakes_and_the_place_of_sizes() -> None:
    space = SearchSpace(
        [
            Gene("kind", Choice("a", "b"), "a"),
            Gene("b.rate", Float(0, 1), 0.5, "kind", ("b",)),
            Gene("deep", Bool(), False),
            Gene("deep.width", Int(1, 4), 1, "deep", (True,)),
            Gene("dims", Ints(Int(1, 2), length=Int(1, 3)), (1,)),
            Gene("drops", Floats(Float(0, 1), length=Int(0, 2)), ()),
        ]
    )
    plain = space.default()
    assert complexity(space, plain) == pytest.approx(0.25 / 3)  # one item at a quarter of its range, of three
    assert complexity(space, space.canonical({"kind": "b", "b.rate": 1.0})) == complexity(space, plain)
    on = complexity(space, space.canonical({"deep": True, "deep.width": 4})) - complexity(space, plain)
    assert on == pytest.approx(1 + 1 + 0.875)  # the switch, the gene it wakes, a width at seven eighths
    assert complexity(space, space.canonical({"dims": (1, 1, 2)})) == pytest.approx(2 + (0.25 + 0.25 + 0.75) / 3)
    assert complexity(space, space.canonical({"drops": (0.9, 0.9)})) - complexity(space, plain) == 2


def test_a_place_is_the_share_of_the_own_family_that_is_simpler() -> None:
    space = SearchSpace(
        [
            Gene("model", Choice("small", "large"), "small"),
            Gene("small.width", Int(1, 100), 1, "model", ("small",)),
            *(Gene(f"large.w{i}", Int(1, 100), 1, "model", ("large",)) for i in range(8)),
        ]
    )
    ladder = Ladder(space)
    assert ladder.place(space.canonical({"small.width": 50})) == pytest.approx(0.5, abs=0.1)
    middle = {"model": "large"} | {f"large.w{i}": 50 for i in range(8)}
    assert ladder.place(space.canonical(middle)) == pytest.approx(0.5, abs=0.1)
    assert ladder.place(space.canonical({"model": "large"})) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_depth_grows_by_stages(seed: int) -> None:
    trials = search(STRATEGY, seed, budget=96, space=DEEP, objectives=lambda g: (float(g["depth"]),))  # type: ignore[arg-type]
    ladder = Ladder(DEEP)
    for stage in range(1, 5):
        among = [trial for trial in trials if stage_of(trial) == stage]
        assert len(among) >= 10
        assert all(ladder.place(trial.genotype) <= stage / 4 for trial in among)
    depths = [max(int(t.genotype["depth"]) for t in trials if stage_of(t) == stage) for stage in range(1, 5)]  # type: ignore[arg-type]
    assert depths == sorted(depths)
    assert depths[0] <= 2
    assert depths[-1] == 4


def test_later_stages_inherit_the_winners_of_earlier_ones() -> None:
    trials = search(Progressive(Progressive.Config(draws=0.0, winners=3)), 0, budget=64, space=DEEP, objectives=stack(1, 4), batch=4)
    by_number = {trial.number: trial for trial in trials}
    first = [trial for trial in trials if stage_of(trial) == 1]
    assert {trial.parent for trial in first} == {None}
    second = [trial for trial in trials if stage_of(trial) == 2]
    winners = {trial.number for trial in sorted(first, key=lambda trial: -trial.value)[:3]}
    assert second[0].parent in winners
    assert all(trial.parent is not None for trial in second)
    for child in (trial for trial in trials if trial.parent is not None):
        before = sorted((trial.value for trial in trials[: 4 * (child.number // 4)]), reverse=True)
        assert by_number[child.parent or 0].value >= before[2]


def test_a_stage_begins_with_children_larger_than_their_parents() -> None:
    trials = search(Progressive(Progressive.Config(draws=0.0)), 0, budget=64, space=DEEP, objectives=stack(2, 4), batch=4)
    young = [trial for trial in trials if trial.parent is not None and trial.number % 16 < 8]
    larger = [complexity(DEEP, t.genotype) > complexity(DEEP, trials[t.parent or 0].genotype) for t in young]
    assert len(young) >= 20
    assert np.mean(larger) > 0.8


def test_it_beats_random_search_where_a_good_simple_core_exists() -> None:
    space = stacked(6)
    pairs = [
        tuple(max(t.value for t in search(one, seed, budget=80, space=space, objectives=stack(seed, 6))) for one in (STRATEGY, RANDOM))
        for seed in range(20)
    ]
    assert sum(mine > drawn for mine, drawn in pairs) >= 17


def test_it_beats_random_search_on_the_planted_space_too() -> None:
    assert wins_against_random(STRATEGY, RANDOM, budget=60) >= 15


def test_large_trials_of_others_have_children_only_when_the_bound_admits_them() -> None:
    session = Progressive(Progressive.Config(length=8, draws=0.0)).start(DEEP, ("m",))
    large = DEEP.canonical({"depth": 4} | {f"{i}.width": 8 for i in range(4)})
    rng = np.random.default_rng(0)
    small = [proposal.genotype for proposal in session.ask(8, rng)]
    session.tell([Trial(0, large, "complete", (99.0,), reason="baseline")])
    session.tell([Trial(n, genotype, "complete", (float(n),)) for n, genotype in enumerate(small, 1)])
    assert {proposal.parent for proposal in session.ask(30, rng)} <= set(range(1, 9))
    session.tell([Trial(n, DEEP.sample(rng), "complete", (-1.0,)) for n in range(9, 40)])
    assert 0 in {proposal.parent for proposal in session.ask(30, rng)}


def test_failures_and_strangers_neither_count_nor_breed() -> None:
    session = Progressive(Progressive.Config(length=4)).start(SPACE, ("m",))
    rng = np.random.default_rng(0)
    session.tell([Trial(n, SPACE.sample(rng), "oom") for n in range(20)])
    session.tell([Trial(n, Genotype({"elsewhere": n}), "complete", (9.0,)) for n in range(20, 40)])
    asked = session.ask(20, rng)
    assert {proposal.reason for proposal in asked} == {"stage 1: draw"}
