"""`prune/history`: a transformer reads the latest steps only, and answers as a network does that is given only them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.testing.contracts import CompressorContract
from autorec_prune.history import RecentSteps
from tests.unit.plugins.rewrite.rewrite_kit import exported

CONTEXT = CompressionContext(Target("edge"), None, {}, lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]
RNG = np.random.default_rng(0)
STEPS = 8


class TestRecentSteps(CompressorContract):
    component = RecentSteps


@pytest.fixture(scope="module")
def sasrec(kernel: Kernel) -> tuple[CompressedModel, Any, int]:
    """Return (model with 48 positions, its network, items)."""
    model, features, _ = exported(kernel, "zoo/sasrec", max_len=48)
    return model, model.model.module, features.schema.items


def test_answers_are_those_of_the_network_on_the_latest_steps(sasrec: Any) -> None:
    """Against torch: whole histories cut by hand; padded, short and empty ones as they are; every batch and length."""
    model, network, items = sasrec
    small = RecentSteps(RecentSteps.Config(steps=STEPS)).compress(model, CONTEXT)
    graph = Graph(small.graph or b"", graph_spec(network))
    for rows, width in ((1, 30), (5, 8), (3, 5), (2, 1), (4, 48)):
        history = RNG.integers(1, items, (rows, width))
        lengths = RNG.integers(0, width + 1, rows)
        padded = np.where(np.arange(width) < lengths[:, None], history, 0)
        cut = np.zeros((rows, STEPS), np.int64)
        for row, length in enumerate(lengths):
            latest = padded[row, max(0, length - STEPS) : length]
            cut[row, : len(latest)] = latest
        with torch.no_grad():
            (expected,) = network.serve(torch.from_numpy(cut))
        np.testing.assert_allclose(graph.run({"history": padded})["user"], expected.numpy(), atol=1e-5)


def test_the_positions_of_older_steps_are_gone(sasrec: Any) -> None:
    model, _, _ = sasrec
    small = RecentSteps(RecentSteps.Config(steps=STEPS)).compress(model, CONTEXT)
    before, after = (
        {tuple(tensor.dims) for tensor in onnx.ModelProto.FromString(one.graph or b"").graph.initializer} for one in (model, small)
    )
    width = next(shape[1] for shape in before if shape[:1] == (48,) and len(shape) == 2)
    assert (48, width) in before - after and (STEPS + 1, width) in after - before, (
        "one more than the steps: a network may put a step behind them"
    )
    assert len(model.graph or b"") - len(small.graph or b"") > 0.8 * (48 - STEPS) * width * 4


@pytest.mark.parametrize(("name", "option"), [("zoo/sasrec", "max_len"), ("zoo/bert4rec", "max_len"), ("zoo/bst", "max_length")])
def test_histories_of_exactly_the_steps_that_are_left_keep_their_answers(name: str, option: str, kernel: Kernel) -> None:
    """BERT4Rec puts a mask behind the history and BST the candidate: the oldest step is then one age older."""
    model, features, sample = exported(kernel, name, **{option: 24})
    steps = STEPS + 1
    small = RecentSteps(RecentSteps.Config(steps=steps)).compress(model, replace(CONTEXT, sample=sample))
    spec = graph_spec(model.model.module)
    before, after = (Graph(graph or b"", spec) for graph in (model.graph, small.graph))
    (history,) = [name for name in model.model.module.inputs if features.schema[name].kind == "history"]
    rest = {name: value[np.arange(6) % len(value)] for name, value in sample.items() if name != history}
    for length in range(steps + 1):
        steps_read = np.where(np.arange(steps) < length, RNG.integers(1, features.schema.items, (6, steps)), 0)
        expected, found = (graph.run({**rest, history: steps_read}) for graph in (before, after))
        for output, value in expected.items():
            np.testing.assert_allclose(found[output], value, atol=1e-5)


def test_a_table_that_something_else_than_a_history_is_looked_up_in_stays_whole() -> None:
    """An id `days`, clipped and looked up, is no age of a history: cutting its table would change answers."""
    ends = [helper.make_tensor_value_info("history", TensorProto.INT64, ["A", "L"]), helper.make_tensor_value_info("days", 7, ["A"])]
    numbers = {"low": np.array(0), "high": np.array(63), "days.table": RNG.normal(size=(64, 4)), "items": RNG.normal(size=(30, 4))}
    stored = [numpy_helper.from_array(value if value.ndim == 0 else value.astype(np.float32), name) for name, value in numbers.items()]
    stored.append(numpy_helper.from_array(np.array([1]), "one"))
    nodes = [helper.make_node("Clip", ["days", "low", "high"], ["clipped"]), helper.make_node("Gather", ["days.table", "clipped"], ["d"])]
    nodes += [helper.make_node("Gather", ["items", "history"], ["h"]), helper.make_node("ReduceSum", ["h", "one"], ["s"], keepdims=0)]
    nodes.append(helper.make_node("Add", ["s", "d"], ["user"]))
    outputs = [helper.make_tensor_value_info("user", TensorProto.FLOAT, ["A", 4])]
    graph = helper.make_graph(nodes, "g", ends, outputs, stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    features = (Feature("history", "history", "user", vocabulary="item", size=30), Feature("days", "id", "user", size=64))
    trained = TrainedModel(Architecture((), {}), torch.nn.Identity(), FeatureSchema(features))
    model = CompressedModel(trained, made.SerializeToString())
    assert list(RecentSteps(RecentSteps.Config()).propose(model, CONTEXT.target)) == []
    with pytest.raises(NotApplicable, match="no table of more"):
        RecentSteps(RecentSteps.Config(steps=16)).compress(model, CONTEXT)


def test_what_reads_no_older_steps_is_left_alone(sasrec: Any, kernel: Kernel) -> None:
    model, _, _ = sasrec
    settings = [config.steps for config in RecentSteps(RecentSteps.Config()).propose(model, CONTEXT.target)]
    assert settings == [24, 12]
    small = RecentSteps(RecentSteps.Config(steps=STEPS)).compress(model, CONTEXT)
    for steps, told in ((STEPS, "no table of more than 8 positions"), (48, "no table of more than 48 positions")):
        with pytest.raises(NotApplicable, match=told):
            RecentSteps(RecentSteps.Config(steps=steps)).compress(small if steps == STEPS else model, CONTEXT)
    with pytest.raises(NotApplicable, match="no exported graph"):
        RecentSteps(RecentSteps.Config()).compress(replace(model, graph=None), CONTEXT)
    other, _, _ = exported(kernel, "zoo/gru4rec")
    with pytest.raises(NotApplicable, match=r"no input is a history of any length|no table of more"):
        RecentSteps(RecentSteps.Config()).compress(other, CONTEXT)
    assert list(RecentSteps(RecentSteps.Config()).propose(other, CONTEXT.target)) == []
