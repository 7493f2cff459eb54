"""Laws of planners: every step has a reason, the taken ones can be applied again, limits are kept or told as missed (torch)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import Candidate, NotApplicable, Plan, PlanRequest, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import context_for, example_models
from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.violation import demand

__all__ = [
    "check_deadline_ends_the_planning",
    "check_failing_compressors_cost_their_own_steps",
    "check_limits_are_kept_or_told",
    "check_plan_leaves_the_model_alone",
    "check_plan_repeats",
    "check_taken_steps_can_be_applied_again",
]

_TARGET = Target("kit", max_drop=0.01, max_doubt=0.05)


def check_taken_steps_can_be_applied_again(component: Any, config: Any, kernel: Any = None) -> None:
    """A plan is JSON, says why of every step, takes what costs bytes and no quality, and its steps give the bytes that it tells."""
    request = _request(kernel, halves=_Halves, ruins=_Ruins, idles=_Idles)
    plan = component(config).plan(request)
    demand(isinstance(plan, Plan), f"plan returned a {type(plan).__name__}, expected a Plan")
    json.dumps([dict(plan.facts), {name: dict(row) for name, row in plan.missed.items()}], allow_nan=False)
    silent = [step.component for step in plan.steps if not step.reason.strip()]
    demand(not silent, f"steps {silent} have no reason")
    taken = [step for step in plan.steps if step.taken]
    demand([step.component for step in taken] == ["halves"], f"the plan takes {[step.component for step in taken]}, expected halves alone")
    current = request.start
    for step in taken:
        current = request.apply(current, step.component, step.config)
    told = taken[-1].after.get("bytes")
    demand(told == current.bytes, f"the last step tells of {told} bytes, applied again the steps give {current.bytes}")


def check_plan_leaves_the_model_alone(component: Any, config: Any, kernel: Any = None) -> None:
    """Weights, graph and sample of the model are as before."""
    request = _request(kernel, halves=_Halves, ruins=_Ruins)
    before = list(leaves([request.start.model, request.context.sample]))
    component(config).plan(request)
    changed = first_difference(before, list(leaves([request.start.model, request.context.sample])))
    demand(changed is None, f"plan changed the model it was handed: {changed}")


def check_plan_repeats(component: Any, config: Any, kernel: Any = None) -> None:
    """Two plans of equal requests take equal steps, for equal reasons."""
    told = [
        [(step.component, dict(step.config), step.taken, step.reason) for step in component(config).plan(_request(kernel)).steps]
        for _ in range(2)
    ]
    demand(told[0] == told[1], "two plans of equal requests differ in their steps or reasons")


def check_failing_compressors_cost_their_own_steps(component: Any, config: Any, kernel: Any = None) -> None:
    """A compressor that raises, proposes badly, or cannot be used is a skipped step; the others are taken all the same."""
    plan = component(config).plan(_request(kernel, breaks=_Breaks, halves=_Halves, raises=_Raises, missing="needs 'x'"))
    found = {step.component: step.taken for step in plan.steps}
    demand(found.get("halves") is True, "a compressor that works is not taken beside others that fail")
    for name in ("breaks", "raises", "missing"):
        demand(found.get(name) is False, f"compressor {name!r}, which fails, is not told as a skipped step")


def check_limits_are_kept_or_told(component: Any, config: Any, kernel: Any = None) -> None:
    """What cannot be reached stands in `missed` with limit and figure; what can be is empty."""
    fine = _request(kernel)
    demand(not component(config).plan(fine).missed, "a target without limits is missed")
    tight = replace(fine, target=replace(_TARGET, max_bytes=16))
    missed = component(config).plan(tight).missed
    demand("max_bytes" in missed, "16 bytes cannot be reached, and `missed` does not say so")
    demand(missed["max_bytes"].get("limit") == 16 and missed["max_bytes"].get("reached", 0) > 16, f"missed tells {missed['max_bytes']}")


def check_deadline_ends_the_planning(component: Any, config: Any, kernel: Any = None) -> None:
    """After the deadline nothing is taken, and every compressor is told as skipped."""
    plan = component(config).plan(replace(_request(kernel), deadline=time.monotonic() - 1))
    demand(not any(step.taken for step in plan.steps), "a step is taken although the time was up")
    demand({step.component for step in plan.steps} >= {"halves"}, "compressors that there was no time for are not told")


class _Kernel:
    """A kernel that knows a few compressors of the kit."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = dict(components)

    def components(self, kind: str) -> list[Any]:
        """Return a row for each."""
        rows = sorted(self._components.items())
        return [SimpleNamespace(id=n, usable=not isinstance(c, str), reason=c, install="pip install x", tags=()) for n, c in rows]

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        """Return an instance."""
        component = self._components[name]
        return component(component.Config(**config))


class _Halves:
    """Stores the matrices of a graph as float16."""

    class Config(ComponentConfig):
        """No options."""

    form: ClassVar[str] = "graph"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        """Yield the one setting."""
        yield self.Config()

    def compress(self, model: CompressedModel, context: Any) -> CompressedModel:
        """Return the model with a smaller graph."""
        graph = onnx.ModelProto.FromString(model.graph or b"")
        floats = [tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2]
        if not floats:
            raise NotApplicable("no matrix is left in float32")
        for tensor in floats:
            small = onnx.numpy_helper.from_array(self.changed(onnx.numpy_helper.to_array(tensor)).astype(np.float16), f"{tensor.name}.half")
            graph.graph.node.insert(0, onnx.helper.make_node("Cast", [small.name], [tensor.name], to=onnx.TensorProto.FLOAT))
            graph.graph.initializer.remove(tensor)
            graph.graph.initializer.append(small)
        return replace(model, graph=graph.SerializeToString())

    def changed(self, values: np.ndarray) -> np.ndarray:
        """Return what is stored of a matrix."""
        return values


class _Ruins(_Halves):
    """Stores zeros."""

    def changed(self, values: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros_like(values)


class _Idles(_Halves):
    """Proposes nothing."""

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        """Yield nothing."""
        yield from ()


class _Breaks(_Halves):
    """Raises when it proposes."""

    def propose(self, model: CompressedModel, target: Target) -> Iterator[ComponentConfig]:
        """Raise."""
        raise ZeroDivisionError("planted")


class _Raises(_Halves):
    """Raises when it compresses."""

    def compress(self, model: CompressedModel, context: Any) -> CompressedModel:
        """Raise."""
        raise MemoryError("planted")


def _request(kernel: Any, **components: Any) -> PlanRequest:
    from autorec_kernel.deploy.plan import apply_step

    trained, given, features = example_models(host(kernel), "graph")[0]
    toys: Any = _Kernel(components or {"halves": _Halves})
    context = replace(context_for(trained, features), target=_TARGET)
    start = Candidate(given, len(given.graph or b""))
    answers = _answers(start, context.sample)

    def measure(candidate: Candidate) -> Any:
        from autorec_kernel.deploy.quality import Quality

        parts = 1 / (1 + 100 * np.abs(_answers(candidate, context.sample) - answers))
        return Quality("ndcg@10", float(parts.mean()), parts)

    start = replace(start, quality=measure(start))
    return PlanRequest(start, _TARGET, toys, context, partial(apply_step, toys, context, 0), measure)


def _answers(candidate: Candidate, sample: Mapping[str, np.ndarray]) -> np.ndarray:
    from autorec_kernel.deploy.export import graph_spec
    from autorec_kernel.serving.graph import Graph

    found = Graph(candidate.model.graph or b"", graph_spec(candidate.model.model.module)).run(sample)
    rows = np.concatenate([value.reshape(len(value), -1) for value in found.values()], 1)
    return np.asarray(rows.mean(1), np.float64)
