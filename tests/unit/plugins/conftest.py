from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network, solve_blocks
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import features_for


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return host(None)


@pytest.fixture(scope="session")
def features_of(kernel: Kernel) -> Callable[..., FeatureSet]:
    return lambda task, clock="time": features_for(kernel, task, clock)


@pytest.fixture(scope="session")
def built(kernel: Kernel) -> Callable[..., Network]:
    """Build a blueprint's network on a feature set, closed forms solved, in eval mode."""

    def build(name: str, features: FeatureSet, seed: int = 0, **config: Any) -> Network:
        graph = kernel.create("blueprint", name, **config).architecture(features.schema)
        arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(seed))
        return build_network(graph, features.schema, kernel, arrays, seed).eval()

    return build
