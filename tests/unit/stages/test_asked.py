"""Whom the lists of the test part are judged for: everybody, or a sample that is the same for every model of a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.stages.evaluate import _asked, measure
from autorec_kernel.testing.model_cases import features_for

pytestmark = pytest.mark.plugins


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    found: FeatureSet = features_for(Kernel.discover(), "recommend")
    return found


def place(**told: Any) -> Any:
    return SimpleNamespace(recipe=Recipe(task="recommend", trials=1, **told))


def test_a_sample_is_drawn_by_the_seed_alone(features: FeatureSet) -> None:
    every = features.evaluation("valid")
    drawn = [_asked(features, place(test_users=9, seed=seed), "valid").ids for seed in (0, 0, 1)]
    assert len(every) > 9 and len(set(drawn[0])) == 9 and set(drawn[0]) <= set(every.ids)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("count", [0, 50_000])
def test_nobody_is_left_out_without_a_need(features: FeatureSet, count: int) -> None:
    assert _asked(features, place(test_users=count), "valid").ids == features.evaluation("valid").ids


def test_figures_and_slices_are_those_of_the_sample(features: FeatureSet) -> None:
    kernel = Kernel.discover()
    from autorec_kernel.models import Entities, build_network, solve_blocks

    graph = kernel.create("blueprint", "baselines/item-knn").architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0))
    network = build_network(graph, features.schema, kernel, arrays, 0).attach(Entities(features)).eval()
    few, every = (measure(network, features, place(test_users=count), "valid") for count in (9, 0))
    assert (len(few.quality.parts), len(every.quality.parts)) == (9, len(features.evaluation("valid")))
    assert sum(part["count"] for part in few.slices.values()) == 9
    chosen = np.isin(features.evaluation("valid").ids, _asked(features, place(test_users=9), "valid").ids)
    assert np.array_equal(every.quality.parts[chosen], few.quality.parts)
