from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.genes import assemble_space, offers
from autorec_kernel.space import Genotype, SearchSpace
from autorec_kernel.testing.model_cases import features_for

sys.path.insert(0, str(Path(__file__).parent))

METRICS = {"recommend": "ndcg@10", "rate": "rmse", "click": "auc"}


@pytest.fixture
def context(kernel: Kernel, features_of: Callable[..., FeatureSet], tmp_path: Path) -> Callable[..., EvaluationContext]:
    """Return what an evaluator reads: a context with the space, as `prepare` has it."""

    def make(
        evaluator: str, task: str = "click", wanted: tuple[str, ...] = ("zoo/deepfm", "zoo/dcn"), further: bool = False, **given: Any
    ) -> EvaluationContext:
        features = features_for(kernel, task, further=True) if further else features_of(task)
        fitting = [one for one in offers(kernel, task, features.schema, wanted=wanted) if one.id in wanted and not one.reason]
        space = assemble_space(kernel, tuple(fitting), features.schema, evaluator)
        folder = tmp_path / "artefacts"
        folder.mkdir(exist_ok=True)
        return replace(EvaluationContext(kernel, features, task, METRICS[task], 5, 3, folder, space=space), **given)

    return make


@pytest.fixture
def point() -> Callable[..., Genotype]:
    """Return the default genotype of a blueprint in a space, with some genes changed."""

    def make(space: SearchSpace, blueprint: str, **changes: Any) -> Genotype:
        role = "ranker" if "ranker" in space and space["ranker"].domain.contains(blueprint) else "retriever"
        return space.canonical({**space.canonical({"pipeline": role, role: blueprint}), **changes})

    return make
