from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from serving_toys import TOYS, sample, schema

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import NotApplicable, Target
from autorec_kernel.deploy.plan import TARGETS, Candidate, compress, exported, reapply, target_named
from autorec_kernel.deploy.quality import Quality, gain
from autorec_kernel.errors import UnknownNameError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.model import CompressedModel, CompressionStep, TrainedModel

SAMPLE = sample(("user_id",))
BASE = np.linspace(0.2, 0.8, 400)  # per-user values of the uncompressed model


class Fake:
    """A compressor whose config says what it would cost: `cut` bytes and `loss` of every user's value."""

    class Config(ComponentConfig):
        cut: int = 100
        loss: float = 0.0
        noise: float = 0.0

    form: ClassVar[str] = "graph"
    proposals: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    fault: ClassVar[Exception | None] = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        yield from (self.Config(**values) for values in self.proposals)

    def compress(self, model: CompressedModel, context: Any) -> CompressedModel:
        if self.fault is not None:
            raise self.fault
        return replace(model)


def fake(*proposals: dict[str, Any], fault: Exception | None = None) -> type[Fake]:
    return type("Some", (Fake,), {"proposals": proposals or ({},), "fault": fault})


class FakeKernel:
    def __init__(self, **components: type[Fake] | str) -> None:
        self._components = components

    def components(self, kind: str) -> list[Any]:
        assert kind == "compressor"
        return [
            SimpleNamespace(id=name, usable=not isinstance(found, str), reason=found, install="pip install it")
            for name, found in sorted(self._components.items())
        ]

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        component: Any = self._components[name]
        return component(component.Config(**config))


@pytest.fixture(scope="module")
def start() -> Candidate:
    trained = TrainedModel(Architecture((), {}), TOYS["factors"](), schema())
    return replace(exported(trained, SAMPLE, lambda network: Quality("ndcg@10", float(BASE.mean()), BASE)), bytes=1000)


@pytest.fixture
def plan(start: Candidate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Candidate]:
    """Run a plan in which bytes and quality follow from the configs."""

    def applied(compressor: Any, current: Candidate, context: Any, measure: Any) -> Candidate:
        found = compressor.compress(current.model, context)
        config = compressor.config
        parts = current.quality.parts - config.loss + config.noise * np.random.default_rng(1).normal(size=len(BASE))
        return Candidate(found, Quality("ndcg@10", float(parts.mean()), parts), current.bytes - config.cut)

    monkeypatch.setattr("autorec_kernel.deploy.plan._applied", applied)

    def run(target: Target = TARGETS["device"], deadline: float | None = None, journal: Any = None, **components: Any) -> Candidate:
        kernel: Any = FakeKernel(**components)
        features: Any = None
        return compress(
            start,
            target,
            kernel,
            features,
            sample=SAMPLE,
            measure=lambda n: start.quality,
            seed=0,
            deadline=deadline,
            journal=journal,
            latency=False,
        )

    return run


def told(candidate: Candidate) -> list[tuple[str, bool]]:
    return [(step.component, step.taken) for step in candidate.model.steps]


def test_a_step_that_shrinks_without_loss_is_taken(plan: Any) -> None:
    found = plan(a=fake({"cut": 400}))
    assert told(found) == [("a", True)]
    assert found.bytes == 600
    assert "40% fewer bytes" in found.model.steps[0].reason
    assert found.model.steps[0].before["bytes"] == 1000
    assert found.model.steps[0].after["bytes"] == 600


def test_a_step_that_shrinks_nothing_is_skipped(plan: Any) -> None:
    found = plan(a=fake({"cut": 0}), b=fake({"cut": -50}))
    assert told(found) == [("a", False), ("b", False)]
    assert found.bytes == 1000
    assert "not fewer" in found.model.steps[0].reason


def test_a_step_that_costs_quality_is_skipped_with_the_figure(plan: Any) -> None:
    found = plan(a=fake({"cut": 400, "loss": 0.01}))
    assert told(found) == [("a", False)]
    assert "loses more than 1.0%" in found.model.steps[0].reason
    assert "-2.00%" in found.model.steps[0].reason


def test_small_losses_do_not_add_up(plan: Any) -> None:
    lossy = fake({"cut": 100, "loss": 0.003})
    assert told(plan(a=lossy, b=lossy, c=lossy)) == [("a", True), ("b", False), ("c", False)]


def test_a_step_that_the_rows_cannot_judge_is_skipped(plan: Any) -> None:
    found = plan(a=fake({"cut": 400, "noise": 2.0}), target=Target("wide", max_drop=1.0))
    assert told(found) == [("a", False)]
    assert "not enough validation data" in found.model.steps[0].reason


def test_the_smallest_of_several_settings_is_taken(plan: Any) -> None:
    found = plan(a=fake({"cut": 100}, {"cut": 500}, {"cut": 900, "loss": 0.1}))
    assert [step.taken for step in found.model.steps] == [False, True, False]
    assert found.bytes == 500
    assert found.model.steps[0].reason == "another setting is smaller"


@pytest.mark.parametrize(
    ("fault", "phrase"),
    [(NotApplicable("nothing to cut"), "not applicable: nothing to cut"), (ZeroDivisionError("oh"), "failed: ZeroDivisionError: oh")],
)
def test_a_compressor_that_fails_costs_its_own_step_only(plan: Any, fault: Exception, phrase: str) -> None:
    found = plan(a=fake(fault=fault), b=fake({"cut": 10}))
    assert told(found) == [("a", False), ("b", True)]
    assert phrase in found.model.steps[0].reason


def test_an_unavailable_compressor_is_a_skipped_step_with_the_command_that_brings_it(plan: Any) -> None:
    found = plan(a="needs 'x', which is not installed", b=fake({"cut": 10}))
    assert dict(told(found)) == {"a": False, "b": True}
    assert "pip install it" in next(step.reason for step in found.model.steps if step.component == "a")


def test_no_time_left_skips_what_remains(plan: Any) -> None:
    found = plan(a=fake({"cut": 10}), deadline=time.monotonic() - 1)
    assert told(found) == [("a", False)]
    assert "no time" in found.model.steps[0].reason


def test_module_compressors_come_first(plan: Any) -> None:
    module = type("Module", (Fake,), {"form": "module"})
    assert [name for name, _ in told(plan(a=fake(), z=module))] == ["z", "a"]


def test_every_step_is_journaled_once(plan: Any) -> None:
    seen: list[CompressionStep] = []
    found = plan(a=fake({"cut": 1}), b=fake({"cut": -1}), journal=seen.append)
    assert tuple(seen) == found.model.steps


def test_two_plans_are_equal(plan: Any) -> None:
    components = {"a": fake({"cut": 10}, {"cut": 30}), "b": fake({"cut": 5, "loss": 0.01})}
    assert plan(**components).model.steps == plan(**components).model.steps


def test_targets_are_limits(plan: Any) -> None:
    assert target_named("device").max_bytes < target_named("edge").max_bytes < target_named("cloud").max_bytes
    assert target_named("device").max_drop > target_named("edge").max_drop > target_named("cloud").max_drop > 0
    with pytest.raises(UnknownNameError, match="target"):
        target_named("toaster")


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


def test_a_target_that_prefers_quality_keeps_the_better_of_two_settings(plan: Any) -> None:
    settings = fake({"cut": 100}, {"cut": 400, "loss": 0.0002})
    chosen = {name: [step.config["cut"] for step in plan(a=settings, target=TARGETS[name]).model.steps if step.taken] for name in TARGETS}
    assert chosen == {"device": [400], "edge": [400], "cloud": [100]}
    beside = [step.reason for step in plan(a=settings, target=TARGETS["cloud"]).model.steps if not step.taken]
    assert beside == ["another setting is better"]


@pytest.mark.parametrize("fault", [NotApplicable("nothing to cut"), ValueError("not finite")])
def test_a_step_that_fails_on_the_refitted_model_is_left_out_and_says_so(
    plan: Any, start: Candidate, monkeypatch: Any, fault: Exception
) -> None:
    """The others are applied; what the bundle lists are the steps that were."""
    monkeypatch.setattr("autorec_kernel.deploy.plan.serving_sample", lambda network, features: SAMPLE)
    steps = [
        CompressionStep(name, {"cut": cut}, taken, "")
        for name, cut, taken in (("a", 100, True), ("b", 1, True), ("c", 1, False), ("d", 50, True))
    ]
    kernel: Any = FakeKernel(a=fake(), b=fake(fault=fault), c=fake(), d=fake())
    features: Any = None
    found = reapply(start, steps, TARGETS["edge"], kernel, features, measure=lambda n: start.quality, seed=0)
    assert told(found) == [("a", True), ("b", False), ("d", True)] and found.bytes == 850
    assert found.model.steps[1].reason == f"left out of the refitted model: {type(fault).__name__}: {fault}"
