"""Every first-party search strategy keeps the laws of its contract with odd settings too; `test_first_party` has the usual ones."""

from __future__ import annotations

import pytest

from autorec_bayes.tpe import TreeParzen
from autorec_evolution.evolution import Evolution
from autorec_kernel.testing import SearchStrategyContract
from autorec_reinforce.controller import Controller
from autorec_search.random_search import RandomSearch

pytestmark = pytest.mark.slow


class TestRandomSearch(SearchStrategyContract):
    component = RandomSearch
    configs = (RandomSearch.Config(),)


class TestTreeParzen(SearchStrategyContract):
    component = TreeParzen
    configs = (TreeParzen.Config(), TreeParzen.Config(startup=4, candidates=8, multivariate=True, history=20))


class TestEvolution(SearchStrategyContract):
    component = Evolution
    configs = (Evolution.Config(), Evolution.Config(population=5, startup=2, tournament=2, crossover=1.0, mutation=1.0))


class TestController(SearchStrategyContract):
    component = Controller
    configs = (Controller.Config(), Controller.Config(width=4, learning_rate=0.1, entropy=0.0, steps=2))
