"""`prune/history`: a transformer reads the latest steps only, and answers as a network does that is given only them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.model import CompressedModel
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
    assert (48, width) in before - after and (STEPS, width) in after - before
    assert len(model.graph or b"") - len(small.graph or b"") > 0.8 * (48 - STEPS) * width * 4


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
