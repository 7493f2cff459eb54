from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.scoring import rank_block


@pytest.fixture
def recommend(features_of):
    return features_of("recommend")


def smoothed(network, features, layers):
    events, store = features.interactions, network.part("own_users").store
    own = torch.cat([store.table("user"), store.table("item")]).detach().double().numpy()
    graph = np.zeros((len(own), len(own)))
    for user in range(events.users):
        for item in events.of(user):
            graph[user, events.users + item] = graph[events.users + item, user] = 1.0
    degree = np.maximum(graph.sum(1), 1.0)
    graph /= np.sqrt(np.outer(degree, degree))
    return np.mean([np.linalg.matrix_power(graph, k) @ own for k in range(layers + 1)], 0)


@pytest.mark.parametrize("layers", [1, 3])
def test_served_vectors_are_the_mean_of_all_propagation_steps(built, recommend, layers):
    network = built("zoo/lightgcn", recommend, embedding_dim=16, num_layers=layers)
    expected = smoothed(network, recommend, layers)
    users = torch.arange(recommend.schema.users)
    with torch.no_grad():
        assert np.allclose(network.serve(users)[0].numpy(), expected[: recommend.schema.users], atol=1e-5)
    assert np.allclose(network.item_vectors().numpy(), expected[recommend.schema.users :], atol=1e-5)


def test_training_reads_the_same_smoothed_tables(built, recommend):
    network = built("zoo/lightgcn", recommend, embedding_dim=16)
    batch = next(batches_for(network, recommend, 32).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        values = network(batch)
    expected = smoothed(network, recommend, 3)
    assert np.allclose(values["chosen"].numpy(), expected[recommend.schema.users + batch["@target"].numpy()], atol=1e-5)
    assert np.allclose(values["user"].numpy(), expected[batch["user_id"].numpy()], atol=1e-5)


def test_the_graph_is_a_constant_and_the_embeddings_learn(built, recommend):
    network = built("zoo/lightgcn", recommend, embedding_dim=16).train()
    assert [name for name, _ in network.named_parameters()] == ["stores.16.weight"]
    batch = next(batches_for(network, recommend, 8).epoch(np.random.default_rng(0)))
    network.loss(batch).backward()
    reached = network.stores["16"].weight.grad.abs().sum(1) > 0
    assert reached.sum() > len(set(batch["user_id"].tolist())) + 16  # neighbours of the batch learn too


@pytest.mark.slow
def test_the_exported_graph_sees_stored_tables_only(built, recommend):
    network = built("zoo/lightgcn", recommend, embedding_dim=16)
    sample = recommend.row_inputs(network.inputs, recommend.rows("valid")[:9])
    exported = export_onnx(network, sample)
    assert parity(network, exported, sample) < 1e-5
    assert b"sparse" not in exported.lower()


def test_a_stranger_is_folded_in_from_the_history(built, recommend):
    network, state = built("zoo/lightgcn", recommend, embedding_dim=16), recommend.state()
    items = network.item_vectors().numpy()
    histories = (np.array([0, 2]), np.array([1, 2]))
    scores = rank_block(network, state, np.array([0]), histories, items)
    other = rank_block(network, state, np.array([0]), (np.array([0, 2]), np.array([3, 4])), items)
    assert np.isfinite(scores).all()
    assert not np.allclose(scores, other)
