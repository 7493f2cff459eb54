from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from autorec_cells.options import NODES, OPERATIONS
from autorec_cells.sentence import format_cell
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network, infer_specs, make_blocks
from autorec_kernel.models.batching import batches_for
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.testing.model_cases import sample_of, schemas
from autorec_kernel.testing.network_cases import answers

FAMILIES = {"convolution": ("convolution",), "LSTM": ("lstm",), "attention": ("attention",), "MLP": ("mlp",), "pooling": ("pooling",)}


def unreached(network: Network, features: FeatureSet) -> set[str]:
    """Return the parameters that three batches give no gradient; the loss of each is finite."""
    learned = {name: value for name, value in network.named_parameters() if value.requires_grad}
    left = set(learned)
    for batch in islice(batches_for(network, features, 64).epoch(np.random.default_rng(0)), 3):
        loss = network.train().loss(batch)
        assert torch.isfinite(loss)
        grads = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
        left -= {name for name, grad in zip(learned, grads, strict=True) if grad is not None and bool(grad.any())}
    return left


def graph_of(kernel: Kernel, cell: str, config: Any, schema: Any) -> Architecture:
    return kernel.load("blueprint", cell)(config).architecture(schema)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_every_sampled_point_builds_runs_and_teaches_every_parameter(
    cell: str, kernel: Kernel, tiny: FeatureSet, sampled: Callable[..., Iterator[Any]]
) -> None:
    met: Counter[str] = Counter()
    digests = set()
    for number, config in enumerate(sampled(200)):
        graph = graph_of(kernel, cell, config, tiny.schema)
        network = build_network(graph, tiny.schema, kernel, seed=number)
        assert unreached(network, tiny) == set(), format_cell(config)
        assert all(np.isfinite(answer).all() for answer in answers(network.eval(), tiny)), format_cell(config)
        met.update(getattr(config, f"operation_{node}") for node in range(1, config.nodes + 1))
        digests.add(graph.digest())
    offered = set(OPERATIONS) if cell == "cells/free-ranker" else set(OPERATIONS) - _FIELD_OPERATIONS
    assert set(met) == offered
    assert len(digests) >= 190


_FIELD_OPERATIONS = {"fm", "pairs", "bilinear", "cin", "senet", "attention-pool", "fusion"}


def test_a_few_sampled_points_build_run_and_teach_every_parameter(
    cell: str, kernel: Kernel, tiny: FeatureSet, sampled: Callable[..., Iterator[Any]]
) -> None:
    for number, config in enumerate(sampled(6, seed=7)):
        network = build_network(graph_of(kernel, cell, config, tiny.schema), tiny.schema, kernel, seed=number)
        assert unreached(network, tiny) == set(), format_cell(config)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("position", [1, 2])
def test_every_operation_fits_behind_every_source_and_port(
    operation: str, position: int, kernel: Kernel, features_of: Callable[..., FeatureSet]
) -> None:
    """Position 2 reads what an operation left as vector, fields or steps."""
    features, kind = features_of("click"), kernel.load("blueprint", "cells/free-ranker")
    if position == 1:
        chosen = [{"nodes": 1, "left_1": left, "right_1": right} for left in _SOURCES for right in ("none", "history", "flat")]
    else:
        chosen = [{"nodes": 2, "operation_1": below, "left_1": "fields", "left_2": "1"} for below in ("mlp", "senet", "gru")]
    for options in chosen:
        graph = graph_of(kernel, "cells/free-ranker", kind.Config(**{**options, f"operation_{position}": operation}), features.schema)
        network = build_network(graph, features.schema, kernel, seed=1)
        assert unreached(network, features) == set(), (operation, options)


_SOURCES = ("fields", "flat", "history", "candidate")


def test_the_five_operations_of_the_tutorial_are_sampled(sampled: Callable[..., Iterator[Any]]) -> None:
    met = {getattr(config, f"operation_{node}") for config in sampled(60) for node in range(1, config.nodes + 1)}
    assert all(met & set(operations) for operations in FAMILIES.values())


def test_cells_of_all_lengths_are_sampled_and_none_has_a_circle_or_an_idle_node(
    cell: str, kernel: Kernel, tiny: FeatureSet, sampled: Callable[..., Iterator[Any]]
) -> None:
    lengths = set()
    for config in sampled(80):
        lengths.add(config.nodes)
        graph = graph_of(kernel, cell, config, tiny.schema)  # an Architecture refuses a node that reads a later one
        specs = infer_specs(graph, tiny.schema, make_blocks(graph, kernel))
        used = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs.values())
        assert [node.id for node in graph.nodes if node.id not in used and specs[node.id].port != "loss"] == []
    assert lengths == set(range(1, NODES + 1))


def test_points_suit_data_of_every_shape_or_say_what_is_missing(cell: str, kernel: Kernel, sampled: Callable[..., Iterator[Any]]) -> None:
    task = "recommend" if cell == "cells/free-retriever" else ("click", "rate")
    for name, schema in schemas().items():
        if name.startswith(task):
            for config in sampled(10, seed=3):
                graph = graph_of(kernel, cell, config, schema)
                infer_specs(graph, schema, make_blocks(graph, kernel))


@pytest.mark.slow
def test_sampled_points_answer_alike_from_onnx(cell: str, kernel: Kernel, tiny: FeatureSet, sampled: Callable[..., Iterator[Any]]) -> None:
    for number, config in enumerate(sampled(4, seed=5)):
        network = build_network(graph_of(kernel, cell, config, tiny.schema), tiny.schema, kernel, seed=number).eval()
        sample = sample_of(network, tiny)
        assert parity(network, export_onnx(network, sample), sample) < 1e-4, format_cell(config)
