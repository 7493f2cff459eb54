"""What must hold on an NVIDIA device; bit equality is a promise of the CPU alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import Entities, FitSettings, build_network, solve_blocks, train
from autorec_kernel.models.batching import batches_for

pytestmark = [pytest.mark.plugins, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

TASKS = ("recommend", "rate", "click")


def graphs(kernel, features_of) -> Iterator[tuple[str, str, object, object]]:
    for row in kernel.components("blueprint"):
        for task in TASKS:
            if task not in kernel.load("blueprint", row.id).tasks:
                continue
            features = features_of(task)
            try:
                yield row.id, task, kernel.create("blueprint", row.id).architecture(features.schema), features
            except ContractError:
                continue


def loss_of(network, features, device):
    """Return the loss of the first batch without dropout."""
    network.to(device)
    batch = next(iter(batches_for(network, features, 64, device).epoch(np.random.default_rng(0))))
    network.train()
    for part in network.modules():
        if "dropout" in type(part).__name__.lower():
            part.eval()
    return float(network.loss(batch).detach())


def test_the_loss_of_every_blueprint_is_the_one_of_the_cpu(kernel, features_of):
    seen = 0
    for name, task, graph, features in graphs(kernel, features_of):
        arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0))
        network = build_network(graph, features.schema, kernel, arrays, 1)
        if not network.trainable:
            continue
        drawn = any(node.block.endswith("reparameterise") for node in graph.nodes)
        rates = [part for part in network.modules() if getattr(part, "rate", 0)]
        if drawn or rates:  # noise is drawn by the device's own generator
            continue
        other = copy.deepcopy(network)
        first = loss_of(network.attach(Entities(features)), features, "cpu")
        assert loss_of(other.attach(Entities(features)), features, "cuda") == pytest.approx(first, rel=1e-3), (name, task)
        seen += 1
    assert seen > 5


def test_every_blueprint_learns_on_cuda_and_comes_back_to_the_cpu(kernel, features_of):
    settings = FitSettings(epochs=4, batch_size=64, patience=0, learning_rate=3e-3)
    for name, task, graph, features in graphs(kernel, features_of):
        network, report = train(graph, features, features.schema, kernel, settings, seed=0, trial=0, device="cuda")
        if report.losses:
            assert all(np.isfinite(report.losses)), (name, task)
            assert report.losses[-1] < report.losses[0] * 1.02, (name, task, report.losses)
        assert all(weight.device.type == "cpu" for weight in network.parameters())
