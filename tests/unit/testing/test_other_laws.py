"""Defects of configs, metrics, readers, selectors, blueprints, evaluators and executors, each caught by the law it breaks."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.errors import ContractError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.tasks import run_task
from autorec_kernel.space import Int
from autorec_kernel.testing import (
    BlueprintContract,
    EvaluatorContract,
    FeatureSelectorContract,
    MetricContract,
    ReaderContract,
    Violation,
)
from autorec_kernel.testing.checks import blueprints, component, evaluators, executors, metrics, readers, selectors
from autorec_kernel.testing.kit_evaluators import Steady


class Plain:
    class Config(ComponentConfig):
        rank: Annotated[int, Int(1, 9)] = Field(3, description="A number.")

    def __init__(self, config: Any) -> None:
        self.config = config


class _OutsideDomain(Plain):
    class Config(ComponentConfig):
        rank: Annotated[int, Int(4, 9)] = Field(3, description="A number.")


class _Undescribed(Plain):
    class Config(ComponentConfig):
        rank: int = 3


class _Permissive(Plain):
    class Config(ComponentConfig):
        model_config = ConfigDict(frozen=True, extra="ignore")


class _Thawed(Plain):
    class Config(ComponentConfig):
        model_config = ConfigDict(frozen=False)
        rank: int = Field(3, description="A number.")


class _Foreign(Plain):
    class Config(BaseModel):
        rank: int = 3


class _Slow(Plain):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        time.sleep(0.6)


class _Two(Plain):
    def __init__(self, config: Any, device: str = "cpu") -> None:
        super().__init__(config)


_CONFIGS = (
    (_OutsideDomain, component.check_defaults_lie_in_domains),
    (_Undescribed, component.check_defaults_lie_in_domains),
    (_Permissive, component.check_config_is_frozen_and_strict),
    (_Thawed, component.check_config_is_frozen_and_strict),
    (_Foreign, component.check_config_is_frozen_and_strict),
    (_Slow, component.check_constructor_is_cheap),
    (_Two, component.check_constructor_is_cheap),
)


@pytest.mark.parametrize(("defect", "check"), _CONFIGS, ids=[defect.__name__ for defect, _ in _CONFIGS])
def test_a_defect_of_a_config_or_constructor_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


def test_a_missing_member_of_a_contract_is_named() -> None:
    with pytest.raises(Violation, match="score"):
        component.check_implements(Plain, Plain.Config(), "autorec_kernel.contracts.evaluator:Metric")


class SquaredError:
    """Squared error a row."""

    class Config(ComponentConfig):
        """No options."""

    kind: ClassVar[str] = "rows"
    higher_is_better: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    def score(self, labels: np.ndarray, predictions: np.ndarray, users: np.ndarray) -> np.ndarray:
        return (labels.astype(np.float64) - predictions) ** 2


class HitRate(SquaredError):
    kind: ClassVar[str] = "ranking"
    higher_is_better: ClassVar[bool] = True

    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        hits = np.add.reduceat((ranks < k).astype(np.float64), offsets[:-1])
        return np.minimum(hits, 1.0)


class TestSquaredError(MetricContract):
    component = SquaredError


class TestHitRate(MetricContract):
    component = HitRate


class _Backwards(SquaredError):
    higher_is_better: ClassVar[bool] = True


class _FirstRowsOnly(SquaredError):
    def score(self, labels: np.ndarray, predictions: np.ndarray, users: np.ndarray) -> np.ndarray:
        return super().score(labels, predictions, users)[: len(labels) // 2]


class _SortsLabels(SquaredError):
    def score(self, labels: np.ndarray, predictions: np.ndarray, users: np.ndarray) -> np.ndarray:
        found = super().score(labels, predictions, users)
        labels.sort()
        return found


class ReciprocalRank(HitRate):
    """Of the first positive, without a cut: it is free of k."""

    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return 1.0 / (1.0 + np.minimum.reduceat(ranks, offsets[:-1]))


class TestReciprocalRank(MetricContract):
    component = ReciprocalRank


class Precision(HitRate):
    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return np.add.reduceat((ranks < k).astype(np.float64), offsets[:-1]) / k


class TestPrecision(MetricContract):
    component = Precision


class ErrorOfAUser(SquaredError):
    def score(self, labels: np.ndarray, predictions: np.ndarray, users: np.ndarray) -> np.ndarray:
        error = super().score(labels, predictions, users)
        return np.bincount(users, error) / np.bincount(users)


class TestErrorOfAUser(MetricContract):
    component = ErrorOfAUser


class _AlwaysTen(HitRate):
    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return super().score(offsets, ranks, np.asarray(10), items)


class _AtMostTen(HitRate):
    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return super().score(offsets, ranks, np.minimum(k, 10), items)


class _OneForAllUsers(HitRate):
    def score(self, offsets: np.ndarray, ranks: np.ndarray, k: np.ndarray, items: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return np.asarray(super().score(offsets, ranks, k, items).mean())


class _OneForAllRows(SquaredError):
    def score(self, labels: np.ndarray, predictions: np.ndarray, users: np.ndarray) -> np.ndarray:
        return super().score(labels, predictions, users).mean(keepdims=True)


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        (_AlwaysTen, metrics.check_metric_heeds_k),
        (_AtMostTen, metrics.check_metric_heeds_k),
        (_OneForAllUsers, metrics.check_metric_is_plain),
        (_OneForAllRows, metrics.check_metric_is_plain),
        (_Backwards, metrics.check_metric_is_bounded_by_the_oracle),
        (_FirstRowsOnly, metrics.check_metric_is_permutation_invariant),
        (_SortsLabels, metrics.check_metric_is_plain),
    ],
)
def test_a_defect_of_a_metric_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


class Endings:
    """Reads files with one ending."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def accepts(self, source: Any) -> bool:
        return isinstance(source, str) and source.endswith(".own")

    def read(self, source: Any) -> Any:
        return None


class TestEndings(ReaderContract):
    component = Endings


class _AssumesText(Endings):
    def accepts(self, source: Any) -> bool:
        return bool(source.endswith(".own"))


class _TakesAll(Endings):
    def accepts(self, source: Any) -> bool:
        return isinstance(source, str)


class _ReadsAll(Endings):
    def accepts(self, source: Any) -> bool:
        if hasattr(source, "read_bytes") and source.exists() and len(source.read_bytes()) > 1000:
            time.sleep(0.3)
        return super().accepts(source)


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        (_AssumesText, readers.check_reader_declines_politely),
        (_TakesAll, readers.check_reader_declines_politely),
        (_ReadsAll, readers.check_reader_is_quick_to_answer),
    ],
)
def test_a_defect_of_a_reader_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


class ByName:
    """Ranks features by the length of their names."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def rank(self, features: Any, rng: np.random.Generator) -> Ranking:
        names = [feature.name for feature in features.schema.features]
        return Ranking({name: float(len(name)) for name in names}, dict.fromkeys(names, "length of its name"))


class TestByName(FeatureSelectorContract):
    component = ByName


class _Dice(ByName):
    def rank(self, features: Any, rng: np.random.Generator) -> Ranking:
        found = super().rank(features, rng)
        return Ranking({name: float(np.random.default_rng().random()) for name in found.scores}, found.reasons)


class _Forgets(ByName):
    def rank(self, features: Any, rng: np.random.Generator) -> Ranking:
        found = super().rank(features, rng)
        return Ranking(dict(list(found.scores.items())[1:]), found.reasons)


@pytest.mark.parametrize(
    ("defect", "check"), [(_Dice, selectors.check_ranking_is_deterministic), (_Forgets, selectors.check_ranking_is_complete)]
)
def test_a_defect_of_a_selector_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


class Shallow:
    """A linear ranker on embedded fields."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: int = Field(4, description="Width of an embedding.")

    role: ClassVar[str] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("click", "rate")
    block: ClassVar[str] = "blocks/linear"

    def __init__(self, config: Config) -> None:
        self.config = config

    def names(self, features: FeatureSchema) -> list[str]:
        return [feature.name for feature in features.of("id", "bag")]

    def more(self) -> tuple[Node, ...]:
        return ()

    def architecture(self, features: FeatureSchema) -> Architecture:
        names = self.names(features)
        if not names or not features.tasks:
            raise ContractError("a shallow ranker needs ids and a label")
        task = next(iter(features.tasks))
        nodes = (
            Node("fields", "@fields", config={"columns": names, "width": self.config.embedding_dim}),
            Node("deep", self.block, ("fields",), {"width": 8}),
            Node("head", "blocks/head", ("deep",), {"tasks": [task], "link": features.tasks[task]}),
            *self.more(),
        )
        return Architecture(nodes, {task: "head"})


class TestShallow(BlueprintContract):
    component = Shallow


class _UnknownBlock(Shallow):
    block: ClassVar[str] = "nobody/linear"


class _IdleNode(Shallow):
    def more(self) -> tuple[Node, ...]:
        return (Node("idle", "blocks/linear", ("deep",), {"width": 3}),)


class _RaisesKeyError(Shallow):
    def names(self, features: FeatureSchema) -> list[str]:
        return [{feature.name: feature.name for feature in features.of("history")}["history"]]


class _DrawsColumns(Shallow):
    def names(self, features: FeatureSchema) -> list[str]:
        found = super().names(features)
        return [found[int(i)] for i in np.random.default_rng().integers(0, len(found), 24)]


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        (_UnknownBlock, blueprints.check_blocks_are_known_and_build),
        (_IdleNode, blueprints.check_blocks_are_known_and_build),
        (_RaisesKeyError, blueprints.check_architecture_is_data),
        (_DrawsColumns, blueprints.check_architecture_is_data),
    ],
)
def test_a_defect_of_a_blueprint_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


class _Impure(Steady):
    calls: ClassVar[list[int]] = []

    def evaluate(self, genotype: Any, rung: Any, context: Any) -> Evaluation:
        self.calls.append(1)
        return Evaluation("complete", {context.metric: float(len(self.calls))})


class _NumpyDetails(Steady):
    def evaluate(self, genotype: Any, rung: Any, context: Any) -> Evaluation:
        return Evaluation("complete", {context.metric: 1.0}, details={"weights": np.ones(3)})


class _NoMetric(Steady):
    def evaluate(self, genotype: Any, rung: Any, context: Any) -> Evaluation:
        return Evaluation("complete", {"made-up": 1.0})


class TestSteady(EvaluatorContract):
    component = Steady
    exceptions: ClassVar[dict[str, str]] = {"check_models_come_back": "it trains nothing"}


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        (_Impure, evaluators.check_evaluation_is_pure),
        (_NumpyDetails, evaluators.check_evaluation_is_plain_data),
        (_NoMetric, evaluators.check_evaluation_is_plain_data),
    ],
)
def test_a_defect_of_an_evaluator_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())


class _Inline:
    """Runs a task where it is submitted, and lets errors out."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, plugins: Any, workers: int) -> None:
        self.kernel = Kernel.rebuild(plugins)

    def submit(self, task: Any) -> Future[Evaluation]:
        future: Future[Evaluation] = Future()
        if task.evaluator == "kit/hanging":
            future.set_exception(TimeoutError("too slow"))
        else:
            future.set_result(run_task(task, self.kernel))
        return future

    def close(self) -> None:
        self.kernel = Kernel()


def test_an_executor_without_isolation_is_caught() -> None:
    with pytest.raises(Violation):
        executors.check_bad_tasks_become_statuses(_Inline, _Inline.Config())
