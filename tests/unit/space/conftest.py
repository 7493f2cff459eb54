from __future__ import annotations

import pytest

from autorec_kernel.space import Bool, Choice, Float, Gene, Int, Ints, SearchSpace


@pytest.fixture
def tree() -> SearchSpace:
    """A finite space with three levels, an inner gene with two children and a list."""
    return SearchSpace(
        [
            Gene("model", Choice("mf", "gru", "none"), "mf"),
            Gene("mf.rank", Int(1, 4), 2, "model", ("mf",)),
            Gene("gru.layers", Int(1, 3), 1, "model", ("gru",)),
            Gene("gru.dims", Ints(Int(1, 2), length=Int(0, 2)), (1, 2), "gru.layers", (2, 3)),
            Gene("gru.tied", Bool(), True, "gru.layers", (3,)),
            Gene("batch", Choice(128, 256), 128),
        ]
    )


@pytest.fixture
def mixed(tree: SearchSpace) -> SearchSpace:
    """The finite space and a learning rate."""
    return SearchSpace([*tree.genes, Gene("lr", Float(1e-4, 1e-1, log=True), 1e-2)])
