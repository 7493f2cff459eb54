"""The additive planner on compressors whose bytes, losses and noise are known."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from serving_toys import TOYS, sample, schema

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts import Candidate, CompressionContext, NotApplicable, Plan, PlanRequest, Target
from autorec_kernel.deploy.plan import exported
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.deploy.targets import TARGETS
from autorec_kernel.errors import BundleError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.space import Float
from autorec_kernel.testing.contracts import PlannerContract
from autorec_planner import finalists
from autorec_planner.cost import Calibration
from autorec_planner.orders import Draft
from autorec_planner.planner import AdditivePlanner
from autorec_planner.workshop import Workshop

SAMPLE = sample(("user_id",))
BASE = np.linspace(0.2, 0.8, 400)  # per-user values of the uncompressed model
DEVICE = replace(TARGETS["device"], batch=1)


class TestAdditivePlanner(PlannerContract):
    component = AdditivePlanner
    configs = (AdditivePlanner.Config(),)


class Fake:
    """A compressor whose config says what it costs: `cut` bytes, `loss` of every user's value, `noise` in them, and who it hinders."""

    class Config(ComponentConfig):
        cut: int = 100
        loss: float = 0.0
        noise: float = 0.0
        after: str = ""
        share: Annotated[float, Float(0.1, 0.9)] = 0.5
        harm: float = 0.0  # of the square of the share
        clash: float = 0.0  # lost beside, of a model that has lost more than .003
        mute: bool = False
        breaks: str = ""

    form: ClassVar[str] = "graph"
    proposals: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    fault: ClassVar[Exception | None] = None
    calls: ClassVar[list[str]]

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        yield from (self.Config(**values) for values in self.proposals)


def fake(*proposals: dict[str, Any], fault: Exception | None = None, form: str = "graph") -> type[Fake]:
    return type("Some", (Fake,), {"proposals": proposals or ({},), "fault": fault, "form": form, "calls": []})


class FakeKernel:
    def __init__(self, **components: type[Fake] | str) -> None:
        self.known = components

    def components(self, kind: str) -> list[Any]:
        assert kind == "compressor"
        return [
            SimpleNamespace(id=name, usable=not isinstance(found, str), reason=found, install="pip install it")
            for name, found in sorted(self.known.items())
        ]

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        component: Any = self.known[name]
        return component(component.Config(**config))


@pytest.fixture(scope="module")
def start() -> Candidate:
    trained = TrainedModel(Architecture((), {}), TOYS["factors"](), schema())
    return replace(exported(trained, SAMPLE), bytes=1000, quality=Quality("ndcg@10", float(BASE.mean()), BASE))


@pytest.fixture
def plan(start: Candidate) -> Callable[..., Plan]:
    """Plan with compressors in which bytes and quality follow from the configs; `made` counts what was built."""
    made: list[str] = []

    def run(target: Target = DEVICE, deadline: float | None = None, finalists: int = 4, **components: Any) -> Plan:
        kernel: Any = FakeKernel(**components)
        features: Any = None

        def apply(current: Candidate, name: str, config: Mapping[str, Any]) -> Candidate:
            one = kernel.create("compressor", name, **config)
            if one.fault is not None:
                raise one.fault
            done = [*current.model.steps, name]
            if one.config.after in current.model.steps:  # type: ignore[comparison-overlap]
                raise NotApplicable(f"{one.config.after} left nothing")
            made.append(name)
            losses = current.facts.get("loss", 0.0) + one.config.loss + one.config.harm * one.config.share**2
            losses += one.config.clash * (current.facts.get("loss", 0.0) > 0.003)
            noise = current.facts.get("noise", 0.0) + one.config.noise
            model = replace(current.model, steps=tuple(done))  # type: ignore[arg-type]
            mute = float(one.config.mute or one.config.breaks in current.model.steps)  # type: ignore[comparison-overlap]
            left = current.bytes - round(one.config.cut * 2 * one.config.share)
            return Candidate(model, left, None, {"loss": losses, "noise": noise, "mute": mute})

        def measure(candidate: Candidate) -> Quality:
            if candidate.facts.get("mute"):
                raise BundleError("the model failed")
            parts = BASE - candidate.facts["loss"] + candidate.facts["noise"] * np.random.default_rng(1).normal(size=len(BASE))
            return Quality("ndcg@10", float(parts.mean()), parts)

        context = CompressionContext(target, features, SAMPLE, lambda model, share: model, np.random.default_rng(0))
        request = PlanRequest(start, target, kernel, context, apply, measure, 0, deadline)
        return AdditivePlanner(AdditivePlanner.Config(finalists=finalists)).plan(request)

    run.made = made  # type: ignore[attr-defined]
    return run


def taken(found: Plan) -> list[str]:
    return [step.component for step in found.steps if step.taken]


def reason(found: Plan, name: str) -> str:
    return next(step.reason for step in found.steps if step.component == name)


def test_a_step_that_shrinks_without_loss_is_taken_with_its_figures(plan: Any) -> None:
    found = plan(a=fake({"cut": 400}))
    assert taken(found) == ["a"] and found.missed == {}
    assert reason(found, "a") == "40% fewer bytes; alone ndcg@10 +0.00% [+0.00%, +0.00%], n = 400"
    assert (found.steps[0].before["bytes"], found.steps[0].after["bytes"]) == (1000, 600)


def test_a_step_that_shrinks_nothing_is_skipped(plan: Any) -> None:
    found = plan(a=fake({"cut": 0}), b=fake({"cut": -50}))
    assert taken(found) == []
    assert "not fewer" in reason(found, "a")


def test_a_step_that_costs_quality_is_skipped_with_the_figure(plan: Any) -> None:
    found = plan(a=fake({"cut": 400, "loss": 0.01}))
    assert taken(found) == []
    assert reason(found, "a").startswith("alone it loses more than 1.0%: ndcg@10 -2.00%")


def test_a_step_that_the_rows_cannot_judge_is_skipped(plan: Any) -> None:
    found = plan(a=fake({"cut": 400, "noise": 0.2}), target=Target("wide", max_drop=0.04))
    assert taken(found) == []
    assert "not enough validation data" in reason(found, "a")


def test_small_losses_do_not_add_up_and_the_best_combination_is_found(plan: Any) -> None:
    """Two of three steps are within the limit; the greedy choice, the first one by name, is not among the best two."""
    found = plan(a=fake({"cut": 100, "loss": 0.003}), b=fake({"cut": 300, "loss": 0.0025}), c=fake({"cut": 250, "loss": 0.0024}))
    assert taken(found) == ["b", "c"]
    assert reason(found, "a").startswith("the best plan by bytes x latency is without it; alone ndcg@10 -0.60%")


def test_a_weaker_setting_that_leaves_room_for_another_step_is_taken(plan: Any) -> None:
    """Alone the strong setting is best; with it nothing else fits under the limit."""
    strengths = fake({"cut": 300, "loss": 0.0049}, {"cut": 250, "loss": 0.0005})
    found = plan(a=strengths, b=fake({"cut": 400, "loss": 0.004}))
    assert [step.config["cut"] for step in found.steps if step.taken] == [250, 400]
    assert reason(found, "a").startswith("25% fewer bytes")
    assert [step.reason for step in found.steps if not step.taken] == ["another setting is in the better plan"]


def test_what_loses_more_together_than_alone_costs_the_worst_step(plan: Any) -> None:
    """Probes add up to nothing; together the noise of two steps cannot be told from a loss."""
    wide = replace(DEVICE, max_drop=0.04)
    found = plan(a=fake({"cut": 300, "noise": 0.1}), b=fake({"cut": 200, "noise": 0.09}), target=wide, finalists=1)
    assert taken(found) == ["b"]
    assert "together (a, b) too much is lost" in reason(found, "a")


def test_a_step_that_finds_nothing_left_is_left_out_of_the_plan_that_wanted_it(plan: Any) -> None:
    found = plan(a=fake({"cut": 300}), b=fake({"cut": 300, "after": "a"}))
    assert taken(found) == ["a"]
    assert "it does not go with the others" in reason(found, "b") and "a left nothing" in reason(found, "b")


@pytest.mark.parametrize(
    ("fault", "phrase"),
    [(NotApplicable("nothing to cut"), "not applicable: nothing to cut"), (ZeroDivisionError("oh"), "failed: ZeroDivisionError: oh")],
)
def test_a_compressor_that_fails_costs_its_own_step_only(plan: Any, fault: Exception, phrase: str) -> None:
    found = plan(a=fake(fault=fault), b=fake({"cut": 10}))
    assert taken(found) == ["b"]
    assert phrase in reason(found, "a")


def test_a_model_that_does_not_answer_costs_the_step_that_made_it(plan: Any) -> None:
    found = plan(a=fake({"cut": 300, "mute": True}), b=fake({"cut": 10}))
    assert taken(found) == ["b"]
    assert "its model does not answer: BundleError: the model failed" in reason(found, "a")
    found = plan(a=fake({"cut": 300}), b=fake({"cut": 200, "breaks": "a"}))
    assert taken(found) == ["a"]
    assert "it does not go with the others" in reason(found, "b") and "the model failed" in reason(found, "b")


@pytest.mark.parametrize(
    ("harm", "tried"), [(0.01, [0.5, 0.75, 0.625, 0.688]), (0.1, [0.5, 0.75, 0.3, 0.2]), (0.001, [0.5, 0.75, 0.825, 0.863])]
)
def test_strengths_between_an_accepted_and_a_refused_one_are_tried_under_a_deadline(plan: Any, harm: float, tried: list[float]) -> None:
    """A share s loses harm · s² of 0.5: with 0.01 the limit of 1 % is at 0.707, with 0.1 at 0.22, with 0.001 beyond all shares."""
    settings = {"a": fake({"cut": 400, "harm": harm}, {"cut": 400, "harm": harm, "share": 0.75})}
    found = plan(deadline=time.monotonic() + 60, **settings)
    assert [row["config"]["share"] for row in found.facts["probes"]] == tried
    best = max(share for share in tried if harm * share**2 / 0.5 <= DEVICE.max_drop)
    assert [step.config["share"] for step in found.steps if step.taken] == [best]
    assert [row["config"]["share"] for row in plan(**settings).facts["probes"]] == [0.5, 0.75], "without a deadline only proposals"


def test_odd_options_of_a_plugin_cost_no_plan(plan: Any) -> None:
    """A default outside its domain, or a domain of the plugin's own that fails, leaves what was proposed."""

    class Odd(Fake):
        class Config(Fake.Config):
            share: Annotated[float, Float(0.6, 0.9)] = 0.5

        proposals = ({"cut": 400}, {"cut": 400, "share": 0.75})
        calls: ClassVar[list[str]] = []

    found = plan(deadline=time.monotonic() + 60, a=Odd, b=fake({"cut": 100}))
    rows = found.facts["probes"]
    assert [row["config"]["share"] for row in rows if row["config"]] == [0.5, 0.5, 0.75]
    assert ["cannot be read" in row["reason"] for row in rows if not row["config"]] == [True]
    assert taken(found) == ["a", "b"]


def test_an_unavailable_compressor_is_a_skipped_step_with_the_command_that_brings_it(plan: Any) -> None:
    found = plan(a="needs 'x', which is not installed", b=fake({"cut": 10}))
    assert taken(found) == ["b"]
    assert "pip install it" in reason(found, "a")


def test_no_time_left_skips_what_remains(plan: Any) -> None:
    found = plan(a=fake({"cut": 10}), deadline=time.monotonic() - 1)
    assert taken(found) == []
    assert "no time" in reason(found, "a")


def test_a_plan_is_made_of_what_was_probed_when_the_probes_took_all_of_the_time(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workshop, "in_time", lambda shop, training=False: "b" not in plan.made)
    found = plan(a=fake({"cut": 300}), b=fake({"cut": 100, "loss": 0.5}, form="module"), c=fake({"cut": 9}, form="module"))
    assert taken(found) == ["a"]
    assert "loses more" in reason(found, "b") and reason(found, "c") == "no time is left"


def test_module_steps_come_first_and_are_trained_once(plan: Any) -> None:
    """Five plans hold the module step: it is made for its probe and taken up again."""
    found = plan(a=fake({"cut": 100}), b=fake({"cut": 150}), z=fake({"cut": 300}, form="module"))
    assert taken(found) == ["z", "a", "b"]
    assert plan.made.count("z") == 1 and plan.made.count("a") > 1


def test_equal_requests_give_equal_plans_and_all_of_it_is_json(plan: Any) -> None:
    components = {"a": fake({"cut": 10}, {"cut": 30}), "b": fake({"cut": 5, "loss": 0.001})}
    first, second = plan(**components), plan(**components)
    assert first.steps == second.steps
    facts = json.loads(json.dumps(dict(first.facts), allow_nan=False))
    assert [row["bytes"] for row in facts["probes"]] == [990, 995, 970]
    assert facts["finalists"][-1]["steps"] == [] and facts["finalists"][facts["chosen"]]["bytes"] == 965


@pytest.mark.parametrize(("limit", "excess"), [(700, {}), (699, {"max_bytes": {"limit": 699.0, "reached": 700.0}})])
def test_limits_are_kept_or_the_closest_plan_says_which_is_missed(plan: Any, limit: int, excess: dict[str, Any]) -> None:
    found = plan(a=fake({"cut": 100}), b=fake({"cut": 200}), c=fake({"cut": 900, "loss": 0.1}), target=replace(DEVICE, max_bytes=limit))
    assert (taken(found), found.missed) == (["a", "b"], excess)


def test_a_latency_that_nothing_reaches_is_missed(plan: Any) -> None:
    found = plan(a=fake({"cut": 100}), target=replace(DEVICE, max_latency_ms=1e-6))
    assert set(found.missed) == {"max_latency_ms"} and found.missed["max_latency_ms"]["measured"] > 1e-6


@pytest.mark.parametrize(("limit", "expected"), [(0.0, ["a", "b"]), (5.0, ["b"])])
def test_where_the_first_plans_are_too_slow_more_are_built(plan: Any, monkeypatch: pytest.MonkeyPatch, limit: float, expected: Any) -> None:
    """One finalist at a time: whatever holds `a` saves more bytes and takes nine milliseconds."""

    def timed(shop: Any, found: Any) -> list[Any]:
        taken = [9.0 if "a" in [step.setting.component for step in one.steps] else 1.0 for one in found]
        figures = [{"cpu_ms": value, "p50_ms": value} for value in taken]
        return [replace(one, times={"one": row, "batch": row}) for one, row in zip(found, figures, strict=True)]

    monkeypatch.setattr(finalists, "timed", timed)
    found = plan(a=fake({"cut": 600}), b=fake({"cut": 300}), finalists=1, target=replace(DEVICE, max_latency_ms=limit))
    assert taken(found) == expected and found.missed == {}


def test_of_a_plan_that_loses_too_much_together_a_step_takes_its_milder_setting(plan: Any) -> None:
    """Alone each loses less than a device may, and so they should together; but `b` loses more of what `a` hurt, in its strong setting."""
    found = plan(
        a=fake({"cut": 600, "loss": 0.0035}, {"cut": 400, "loss": 0.002}), b=fake({"cut": 300, "loss": 0.001, "clash": 0.02}), finalists=1
    )
    assert {step.component: step.config["cut"] for step in found.steps if step.taken} == {"a": 400, "b": 300}


def test_plans_that_are_predicted_to_be_quick_enough_are_built_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[float] = []

    def built(shop: Any, probes: Any, plans: Any, *rest: Any) -> Iterator[Any]:
        order.extend(plan.listed[1] for plan in plans)
        return iter(())

    monkeypatch.setattr(finalists, "built", built)
    monkeypatch.setattr(finalists, "timed", lambda shop, found: found)
    monkeypatch.setattr(finalists, "_uncompressed", lambda shop: None)
    step: Any = object()
    plans = [Draft((step,), 1.0, 0.0, (1.0, batch)) for batch in (30.0, 10.0, 40.0, 20.0)] + [Draft((), 2.0, 0.0, (1.0, 1.0))]
    for limit, expected in ((0.025, [10.0, 20.0, 30.0, 40.0]), (0.0, [30.0, 10.0, 40.0, 20.0])):
        order.clear()
        shop: Any = SimpleNamespace(request=SimpleNamespace(target=replace(DEVICE, max_latency_ms=limit)))
        assert finalists.finalists(shop, [], plans, 4, Calibration(0.0, 1.0, 0.1, 9), finalists.Tried()) == [None]
        assert order == expected


def test_three_targets_give_three_plans(plan: Any) -> None:
    """What is within the loss of a device is too much for an edge; a cloud takes what is free, and no more."""
    strengths = fake({"cut": 600, "loss": 0.0045}, {"cut": 400, "loss": 0.0022}, {"cut": 100})
    found = {name: plan(a=strengths, target=target) for name, target in TARGETS.items()}
    cuts = {name: [step.config["cut"] for step in one.steps if step.taken] for name, one in found.items()}
    assert cuts == {"device": [600], "edge": [400], "cloud": [100]}
