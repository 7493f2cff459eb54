"""The conformance kit under settings far from the defaults."""

from __future__ import annotations

import pytest

from autorec_bayes.tpe import TreeParzen
from autorec_kernel.testing import SearchStrategyContract
from autorec_progressive.progressive import Progressive
from autorec_reinforce.controller import Controller
from autorec_search.auto import AutoStrategy

pytestmark = pytest.mark.slow


class TestNumbers(SearchStrategyContract):
    component = TreeParzen
    configs = (TreeParzen.Config(sampler="cma", startup=2),)


class TestProgressive(SearchStrategyContract):
    component = Progressive
    configs = (Progressive.Config(stages=2, length=3, winners=1, draws=0.0), Progressive.Config(stages=1, draws=1.0))


class TestController(SearchStrategyContract):
    component = Controller
    configs = (Controller.Config(block=1, steps=2, entropy=0.0),)


class TestAuto(SearchStrategyContract):
    component = AutoStrategy
    configs = (AutoStrategy.Config(trials=2), AutoStrategy.Config(without=("bayes/tpe",)))
