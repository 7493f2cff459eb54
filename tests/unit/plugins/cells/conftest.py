from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.space import Genotype, SearchSpace, genes_of

CELLS = {"cells/free-ranker": "click", "cells/free-retriever": "recommend"}


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tiny(cell: str, features_of: Callable[..., FeatureSet]) -> FeatureSet:
    return features_of(CELLS[cell])


@pytest.fixture
def sampled(cell: str, kernel: Kernel) -> Callable[..., Iterator[Any]]:
    """Yield configs of random points."""

    def draw(count: int, seed: int = 0) -> Iterator[Any]:
        kind = kernel.load("blueprint", cell).Config
        space, rng = SearchSpace(genes_of(kind, "")), np.random.default_rng(seed)
        for _ in range(count):
            point: Genotype = space.sample(rng)
            yield kind(**dict(point))

    return draw
