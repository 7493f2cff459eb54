"""Steps of a plan: applied, applied again to the refitted model, and fine-tuning that keeps its best epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from serving_toys import TOYS, sample, schema

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy import plan
from autorec_kernel.deploy.plan import FineTuner, apply_step, exported, reapply
from autorec_kernel.deploy.quality import Quality, gain
from autorec_kernel.models.fit import FitReport
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.model import CompressedModel, CompressionStep, TrainedModel

SAMPLE = sample(("user_id",))
BASE = np.linspace(0.2, 0.8, 400)  # per-user values of the uncompressed model


class Fake:
    """A graph compressor that cuts the last `cut` bytes, or tunes and says so."""

    class Config(ComponentConfig):
        cut: int = 1
        tune: float = 0.0

    form: ClassVar[str] = "graph"
    fault: ClassVar[Exception | None] = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        yield self.config

    def compress(self, model: CompressedModel, context: Any) -> CompressedModel:
        if self.fault is not None:
            raise self.fault
        if self.config.tune:
            context.fine_tune(model.model, self.config.tune)
        return replace(model, graph=(model.graph or b"")[: -self.config.cut])


def kernel_of(**components: Any) -> Any:
    return SimpleNamespace(create=lambda kind, name, **config: components[name](components[name].Config(**config)))


def context_of(tuner: Any = None) -> CompressionContext:
    features: Any = None
    return CompressionContext(Target("edge"), features, SAMPLE, tuner or FineTuner(features, 0), np.random.default_rng(0))


@pytest.fixture(scope="module")
def start() -> Any:
    return exported(TrainedModel(Architecture((), {}), TOYS["factors"](), schema()), SAMPLE)


def step(name: str, cut: int, taken: bool = True, **after: float) -> CompressionStep:
    return CompressionStep(name, {"cut": cut}, taken, "", {}, after)


@pytest.mark.parametrize("fault", [NotApplicable("nothing to cut"), ValueError("not finite")])
def test_a_step_that_fails_on_the_refitted_model_is_left_out_and_says_so(start: Any, fault: Exception) -> None:
    """The others are applied; what the bundle lists are the steps that were."""
    kernel = kernel_of(a=Fake, b=type("B", (Fake,), {"fault": fault}), c=Fake, d=Fake)
    steps = [step("a", 100), step("b", 1), step("c", 1, taken=False), step("d", 50)]
    found = reapply(start, steps, kernel, context_of(), 0)
    assert [(one.component, one.taken) for one in found.model.steps] == [("a", True), ("b", False), ("d", True)]
    assert found.bytes == start.bytes - 150
    assert found.model.steps[1].reason == f"left out of the refitted model: {type(fault).__name__}: {fault}"


def test_a_step_tells_the_epochs_that_its_own_fine_tuning_kept(start: Any, monkeypatch: Any) -> None:
    def tuned(self: FineTuner, model: TrainedModel, share: float) -> TrainedModel:
        self.kept = 3
        return model

    monkeypatch.setattr(FineTuner, "__call__", tuned)
    context = context_of()
    found = apply_step(kernel_of(a=Fake), context, 0, start, "a", {"cut": 7, "tune": 0.5})
    assert (found.bytes, dict(found.facts)) == (start.bytes - 7, {"tuned_epochs": 3.0})
    assert found.told() == {"bytes": float(start.bytes - 7), "tuned_epochs": 3.0}
    plain = apply_step(kernel_of(a=Fake), context, 0, start, "a", {"cut": 7})
    assert (plain.facts, plain.model.graph) == ({}, found.model.graph)


def test_the_refitted_model_is_tuned_as_long_as_was_best(start: Any, monkeypatch: Any) -> None:
    seen: list[int | None] = []

    def tuned(self: FineTuner, model: TrainedModel, share: float) -> TrainedModel:
        seen.append(self.epochs)
        return model

    monkeypatch.setattr(FineTuner, "__call__", tuned)
    steps = [CompressionStep("a", {"tune": 1.0}, True, "", {}, {"tuned_epochs": 2.0}), CompressionStep("a", {"tune": 1.0}, True, "")]
    reapply(start, steps, kernel_of(a=Fake), context_of(), 0)
    assert seen == [2, 0]


@pytest.mark.parametrize(("trained", "epochs"), [(0, 5), (4, 5), (40, 20)])
def test_fine_tuning_goes_on_with_the_options_of_the_search(start: Any, monkeypatch: Any, trained: int, epochs: int) -> None:
    seen: list[Any] = []

    def fit(module: Any, features: Any, settings: Any, **_: Any) -> FitReport:
        seen.append(settings)
        return FitReport()

    monkeypatch.setattr(plan, "fit", fit)
    features: Any = None
    genotype = {"pipeline": "ranker", "ranker": "x", "ranker.training.learning_rate": 0.008, "ranker.training.batch_size": 64, "x.width": 3}
    model = replace(start.model.model, provenance={"genotype": genotype, "epochs": trained})
    FineTuner(features, 0)(model, 1.0)
    FineTuner(features, 0)(replace(model, provenance={}), 0.4)
    first, second = seen
    assert (first.learning_rate, first.batch_size, first.epochs, first.patience) == (0.008, 64, epochs, 0)
    assert (second.learning_rate, second.batch_size, second.epochs) == (0.001, 1024, 2)


@pytest.fixture
def training(monkeypatch: Any) -> Callable[..., Any]:
    """Return a fine-tuner whose epochs add 1 to every weight, and whose quality after each epoch is told."""

    def make(*values: float, stopped_by: str = "epochs", **options: Any) -> FineTuner:
        def fit(module: Any, features: Any, settings: Any, *, seed: Any, validate: Any, deadline: Any) -> FitReport:
            report, best = FitReport(stopped_by=stopped_by), {}
            for epoch in range(1, settings.epochs + 1):
                with torch.no_grad():
                    for weight in module.parameters():
                        weight += 1
                value = validate(module) if validate else float(epoch)
                if report.best_epoch == 0 or value > report.best_value:
                    report.best_epoch, report.best_value = epoch, value
                    best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            module.load_state_dict(best)
            return report

        monkeypatch.setattr(plan, "fit", fit)
        told = iter(values)
        judge = (lambda network: Quality("ndcg@10", next(told), BASE)) if values else None
        features: Any = None
        return FineTuner(features, 0, judge=judge, **options)

    return make


def moved(before: TrainedModel, after: TrainedModel) -> float:
    pairs = zip(before.module.parameters(), after.module.parameters(), strict=True)
    return round(max(float((b - a).detach().abs().max()) for a, b in pairs), 3)


def test_fine_tuning_keeps_the_best_epoch(start: Any, training: Any) -> None:
    model, tuner = start.model.model, training(0.5, 0.4, 0.7, 0.6, 0.6, 0.6)
    found = tuner(model, 1.0)
    assert (tuner.kept, moved(model, found)) == (2, 2.0)


def test_fine_tuning_that_only_hurts_keeps_the_model_as_it_was(start: Any, training: Any) -> None:
    model, tuner = start.model.model, training(0.5, 0.4, 0.3)
    found = tuner(model, 0.4)
    assert (tuner.kept, moved(model, found)) == (0, 0.0)
    assert found.module is not model.module


def test_an_error_metric_is_better_when_it_is_smaller(start: Any, training: Any) -> None:
    tuner = training(0.5)
    values = iter([0.9, 0.95, 0.8])
    tuner.judge = lambda network: Quality("rmse", next(values), BASE, higher=False)
    tuner(start.model.model, 0.4)
    assert tuner.kept == 2


def test_a_decided_length_is_trained_whole_or_not_at_all(start: Any, training: Any) -> None:
    tuner = training(epochs=3)
    assert moved(start.model.model, tuner(start.model.model, 0.2)) == 3.0
    assert moved(start.model.model, training(epochs=0)(start.model.model, 1.0)) == 0.0
    with pytest.raises(NotApplicable, match="3 epochs"):
        training(epochs=3, stopped_by="deadline", deadline=time.monotonic())(start.model.model, 1.0)


def test_gain_is_positive_when_the_second_measurement_is_better() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.5).astype(np.float64)
    good, bad = labels + rng.normal(0, 0.5, 300), labels + rng.normal(0, 2.0, 300)
    pairs = {
        "auc": (Quality("auc", 0.9, good, labels), Quality("auc", 0.6, bad, labels)),
        "rmse": (Quality("rmse", 0.5, (good - labels) ** 2, labels, False), Quality("rmse", 2.0, (bad - labels) ** 2, labels, False)),
        "mae": (Quality("mae", 0.4, abs(good - labels), labels, False), Quality("mae", 1.6, abs(bad - labels), labels, False)),
        "ndcg@10": (Quality("ndcg@10", 0.5, BASE), Quality("ndcg@10", 0.4, BASE - 0.1)),
    }
    for better, worse in pairs.values():
        forward, backward = gain(better, worse, np.random.default_rng(0)), gain(worse, better, np.random.default_rng(0))
        assert forward is not None
        assert backward is not None
        assert forward.difference > 0 > backward.difference
    assert gain(Quality("ndcg@10", 0.5, BASE), Quality("ndcg@10", 0.4, BASE[:3]), np.random.default_rng(0)) is None
