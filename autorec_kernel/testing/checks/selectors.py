"""Laws of feature selectors: every feature is scored once, with a reason, as a function of the feature set and rng only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import features_for
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand

__all__ = ["check_ranking_is_complete", "check_ranking_is_deterministic"]


def check_ranking_is_complete(component: Any, config: Any, kernel: Any = None) -> None:
    """The ranking scores exactly the features of the set, each with a finite number and a reason, and leaves the set alone."""
    for task in ("recommend", "click", "rate"):
        features = features_for(host(kernel), task)
        before = features.digest
        found = component(config).rank(features, np.random.default_rng(0))
        names = {feature.name for feature in features.schema.features}
        demand(isinstance(found, Ranking), f"rank returned a {type(found).__name__}, expected a Ranking")
        demand(set(found.scores) == names, f"rank scored {sorted(set(found.scores) ^ names)} too many or not at all")
        demand(all(math.isfinite(score) for score in found.scores.values()), f"scores are not finite: {dict(found.scores)}")
        bare = [name for name in names if not str(found.reasons.get(name, "")).strip()]
        demand(not bare, f"features {bare} are ranked without a reason")
        demand(features.digest == before, "rank changed the feature set")


def check_ranking_is_deterministic(component: Any, config: Any, kernel: Any = None) -> None:
    """Equal generators give equal scores, under other global seeds and clocks."""
    features = features_for(host(kernel), "click")
    with globals_kept("rank"):
        first = component(config).rank(features, np.random.default_rng(1))
    with another_world(5):
        second = component(config).rank(features, np.random.default_rng(1))
    demand(dict(first.scores) == dict(second.scores), "two rankings with equal generators differ")
