from __future__ import annotations

import numpy as np
from planted import SPACE, search

from autorec_kernel.space import Bool, Gene, Int, SearchSpace
from autorec_search.random_search import RandomSearch

STRATEGY = RandomSearch(RandomSearch.Config())


def test_nothing_is_drawn_twice_while_there_is_something_new() -> None:
    space = SearchSpace([Gene("a", Bool(), True), Gene("b", Int(1, 6), 1)])
    trials = search(STRATEGY, 0, budget=12, batch=4, space=space, objectives=lambda genotype: (0.0,))
    assert {trial.genotype for trial in trials} == set(space.points())


def test_an_exhausted_space_still_answers() -> None:
    space = SearchSpace([Gene("a", Bool(), True)])
    assert len(STRATEGY.start(space, ("m",)).ask(5, np.random.default_rng(0))) == 5


def test_every_model_is_drawn_with_equal_chance() -> None:
    models = [trial.genotype["model"] for trial in search(STRATEGY, 0, budget=1500, batch=100)]
    counts = [models.count(model) for model in ("mf", "fm", "gru")]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 14  # 99.9 % quantile of χ²(2)


def test_what_was_told_changes_the_draws_only_to_avoid_it() -> None:
    rng = np.random.default_rng
    first = STRATEGY.start(SPACE, ("m",)).ask(3, rng(5))
    told = STRATEGY.start(SPACE, ("m",))
    told.tell(search(STRATEGY, 1, budget=5))
    assert told.ask(3, rng(5)) == first
