"""Feature sets of the tiny data set, built once a session by first-party ops through a kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.data import tiny_dataset

Build = Callable[..., FeatureSet]


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    plugin = pytest.importorskip("autorec_features.plugin")
    return Kernel({"features": plugin})


@pytest.fixture(scope="session")
def build(kernel: Kernel) -> Build:
    def made(task: str = "recommend", clock: str = "time", *, opened: bool = False, **more: object) -> FeatureSet:
        dataset = tiny_dataset(task=task, clock=clock, **more)  # type: ignore[arg-type]
        features = build_features(dataset, kernel)
        if opened:
            dataset.test.fix_plan("test")
            features.open_test(dataset.test.open("test"))
        return features

    return made
