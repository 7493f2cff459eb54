from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network
from autorec_kernel.testing.network_cases import answers

CONNECTIONS = ("plain", "skip", "residual", "dense")
BELOW = {"operation_1": "gru", "states_1": 16, "left_1": "history"}


@pytest.fixture
def network_of(kernel: Kernel, features_of: Callable[..., FeatureSet]) -> Callable[..., Network]:
    features, kind = features_of("click"), kernel.load("blueprint", "cells/free-ranker")

    def build(**options: Any) -> Network:
        graph = kind(kind.Config(**options)).architecture(features.schema)
        return build_network(graph, features.schema, kernel, seed=3).eval()

    return build


@pytest.mark.parametrize("operation", ["mlp", "senet", "lstm"])
def test_each_connection_is_another_graph_that_answers_otherwise(
    operation: str, network_of: Callable[..., Network], features_of: Callable[..., FeatureSet]
) -> None:
    """The third node reads the second; the first one is only read by a dense third."""
    found = {}
    for connection in CONNECTIONS:
        options = {**BELOW, "nodes": 3, "operation_2": "mlp", "left_2": "fields", "left_3": "2", "operation_3": operation}
        network = network_of(**options, connection_3=connection)
        found[connection] = (network.architecture.digest(), answers(network, features_of("click"))[0])
    for one, other in combinations(CONNECTIONS, 2):
        assert found[one][0] != found[other][0]
        assert not np.allclose(found[one][1], found[other][1])


def test_a_residual_node_is_the_sum_of_its_operation_and_its_input(
    network_of: Callable[..., Network], features_of: Callable[..., FeatureSet]
) -> None:
    network = network_of(nodes=1, operation_1="mlp", left_1="candidate", size_1=16, connection_1="residual", first_order=False)
    nodes = {node.block: node.id for node in network.architecture.nodes}
    batch = _batch(network, features_of("click"))
    values = network.run(network.reach.serving, batch, {})
    np.testing.assert_allclose(
        values[nodes["blocks/add"]].detach(), (values[nodes["blocks/mlp"]] + values["candidate"]).detach(), rtol=1e-6
    )


def test_a_skip_puts_the_input_beside_the_operation(network_of: Callable[..., Network], features_of: Callable[..., FeatureSet]) -> None:
    network = network_of(nodes=1, operation_1="mlp", left_1="candidate", size_1=16, connection_1="skip", first_order=False)
    nodes = {node.block: node.id for node in network.architecture.nodes}
    values = network.run(network.reach.serving, _batch(network, features_of("click")), {})
    beside = np.concatenate([values[nodes["blocks/mlp"]].detach(), values["candidate"].detach()], 1)
    np.testing.assert_array_equal(values[nodes["blocks/concat"]].detach(), beside)


def test_a_dense_node_reads_all_nodes_before_it_so_only_it_is_a_leaf(network_of: Callable[..., Network]) -> None:
    options = {**BELOW, "nodes": 3, "operation_2": "mlp", "left_2": "flat", "operation_3": "mlp", "left_3": "flat", "first_order": False}
    plain, dense = (network_of(**options, connection_3=connection).architecture for connection in ("plain", "dense"))
    assert [len(_head(graph).inputs) for graph in (plain, dense)] == [3, 1]


def test_the_first_node_has_nothing_before_it_so_dense_is_plain(network_of: Callable[..., Network]) -> None:
    one, other = (network_of(**BELOW, nodes=1, connection_1=connection) for connection in ("plain", "dense"))
    assert one.architecture == other.architecture


def _head(graph: Any) -> Any:
    return next(node for node in graph.nodes if node.block == "blocks/head")


def _batch(network: Network, features: FeatureSet) -> Any:
    from autorec_kernel.models.batches import to_tensors

    return to_tensors(features.row_inputs(network.inputs, features.rows("valid")[:8]), "cpu")
