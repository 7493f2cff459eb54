from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import autorec_baselines.plugin
import autorec_blocks.plugin
import autorec_features.plugin
import autorec_training.plugin
import autorec_zoo.plugin
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.testing.model_cases import features_for

sys.path.insert(0, str(Path(__file__).parent))

PLUGINS: dict[str, Any] = {
    "baselines": autorec_baselines.plugin,
    "blocks": autorec_blocks.plugin,
    "features": autorec_features.plugin,
    "training": autorec_training.plugin,
    "zoo": autorec_zoo.plugin,
}


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return Kernel(plugins=PLUGINS)


@pytest.fixture(scope="session")
def features_of(kernel: Kernel) -> Callable[..., FeatureSet]:
    return lambda task, clock="time": features_for(kernel, task, clock)


@pytest.fixture(scope="session")
def schema() -> FeatureSchema:
    """Two ids, a category of each row, a bag, two numbers and a history; users 1 to 6, items 1 to 8."""
    return FeatureSchema(
        (
            Feature("user_id", "id", "user", vocabulary="user", size=7),
            Feature("item_id", "id", "item", vocabulary="item", size=9),
            Feature("device", "id", "row", vocabulary="device", size=4),
            Feature("genres", "bag", "item", vocabulary="genres", size=5, width=3),
            Feature("price", "numeric", "row", width=2),
            Feature("history", "history", "user", True, "item", 9),
        ),
        user="user_id",
        item="item_id",
        users=7,
        items=9,
        tasks={"rating": "logit"},
        label_range={"rating": (0.0, 1.0, 0.5)},
        events=40,
        ordered=True,
    )


@pytest.fixture(scope="session")
def network_of(kernel: Kernel, schema: FeatureSchema) -> Callable[..., Network]:
    def make(*nodes: Node, outputs: dict[str, str], batching: str = "row", seed: int = 0, **arrays: Any) -> Network:
        return build_network(Architecture(nodes, outputs, batching), schema, kernel, arrays, seed)  # type: ignore[arg-type]

    return make


@pytest.fixture
def fresh(kernel: Kernel, features_of: Callable[..., FeatureSet]) -> Callable[..., tuple[Network, FeatureSet]]:
    """Build a blueprint's network, always with the same weights, and the tiny feature set of its task."""

    def make(task: str = "rate", name: str = "zoo/deepfm", **config: Any) -> tuple[Network, FeatureSet]:
        features = features_of(task)
        graph = kernel.create("blueprint", name, **config).architecture(features.schema)
        return build_network(graph, features.schema, kernel, seed=3), features

    return make


@pytest.fixture(scope="session")
def batch() -> dict[str, torch.Tensor]:
    """Four rows of the schema; the last one is unknown everywhere."""
    return {
        "user_id": torch.tensor([1, 2, 6, 0]),
        "item_id": torch.tensor([8, 3, 3, 0]),
        "device": torch.tensor([1, 1, 2, 0]),
        "genres": torch.tensor([[1, 2, 0], [3, 0, 0], [4, 1, 2], [0, 0, 0]]),
        "price": torch.tensor([[0.5, -1.0], [0.1, 0.2], [1.5, 0.0], [0.0, 0.0]]),
        "history": torch.tensor([[1, 2, 3, 4], [5, 0, 0, 0], [7, 8, 0, 0], [0, 0, 0, 0]]),
        "@label:rating": torch.tensor([1.0, 0.0, 1.0, float("nan")]),
    }
