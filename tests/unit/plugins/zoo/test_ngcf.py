from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.models import Entities, FitSettings, evaluate_ranking, fit, stored
from autorec_kernel.models.batching import batches_for


@pytest.fixture(scope="module")
def recommend(features_of):
    return features_of("recommend")


@pytest.fixture
def ngcf(built, recommend):
    return lambda **config: built("zoo/ngcf", recommend, embedding_dim=10, **config).attach(Entities(recommend))


def graph_of(events):
    nodes = events.users + events.item_count
    graph = np.zeros((nodes, nodes))
    for user in range(events.users):
        for item in events.of(user):
            graph[user, events.users + item] = graph[events.users + item, user] = 1.0
    degree = np.maximum(graph.sum(1), 1.0)
    return graph / np.sqrt(np.outer(degree, degree))


def by_the_paper(network, features, layers):
    """Return users above items after equations 3 and 5, neighbour by neighbour, all layers side by side (equation 9)."""
    graph, store = graph_of(features.interactions), network.part("user0").store
    steps = [torch.cat([store.table("user"), store.table("item")]).detach().double().numpy()]
    for layer in range(1, layers + 1):
        first, second = (network.part(f"user{layer}_{name}_moved").weight.detach().double().numpy().T.copy() for name in ("sum", "common"))
        before, after = steps[-1], []
        for node, own in enumerate(before):
            message = own @ first
            for other in np.flatnonzero(graph[node]):
                message = message + graph[node, other] * (before[other] @ first + (before[other] * own) @ second)
            after.append(np.where(message > 0, message, 0.2 * message))
        steps.append(np.stack(after))
    return np.concatenate(steps, 1)


def far_from_the_start(network):
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source) * 0.5)
    network.tables.forget()
    return network


@pytest.mark.parametrize("widths", [(16,), (12, 8)])
def test_served_vectors_follow_the_equations_of_the_paper(ngcf, recommend, monkeypatch, widths):
    monkeypatch.setattr(stored, "_CHUNK", 7)  # entities are computed some at a time, on the whole graph
    network = far_from_the_start(ngcf(hidden_units=widths))
    expected, users = by_the_paper(network, recommend, len(widths)), recommend.schema.users
    with torch.no_grad():
        assert np.allclose(network.serve(torch.arange(users))[0].numpy(), expected[:users], atol=1e-4)
    assert network.item_vectors().shape[1] == 10 + sum(widths)
    assert np.allclose(network.item_vectors().numpy(), expected[users:], atol=1e-4)


def test_training_reads_the_same_vectors_and_drops_units_of_each_layer(ngcf, recommend):
    network = far_from_the_start(ngcf(hidden_units=(16, 8), dropout_rate=0.5))
    expected, users = by_the_paper(network, recommend, 2), recommend.schema.users
    batch = next(batches_for(network, recommend, 32).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        values = network(batch)
        assert np.allclose(values["chosen"].numpy(), expected[users + batch["@target"].numpy()], atol=1e-4)
        assert np.allclose(values["user"].numpy(), expected[batch["user_id"].numpy()], atol=1e-4)
        values = network.train()(batch)
    assert not (values["user0"] == 0).any()
    for name in ("user1", "item1", "user2", "item2"):
        assert 0.3 < float((values[name] == 0).float().mean()) < 0.7


def test_users_and_items_share_the_matrices_of_a_layer_and_all_layers_one_graph(ngcf):
    network = ngcf(hidden_units=(16, 8))
    shapes = [tuple(weight.shape) for _, weight in network.named_parameters()]
    assert sorted(shapes[1:]) == [(8, 16), (8, 16), (16, 10), (16, 10)]
    assert network.part("near1") is network.part("near2")


@pytest.mark.slow
def test_it_ranks_planted_tastes_better_than_popularity_does(ngcf, built, recommend):
    network = ngcf(hidden_units=(16, 16))
    fit(network, recommend, FitSettings(epochs=8, learning_rate=1e-2, batch_size=32), seed=np.random.SeedSequence(1), validate=None)
    found = [
        evaluate_ranking(model.eval(), recommend, recommend.evaluation("valid"), ("ndcg@10",)).mean()["ndcg@10"]
        for model in (network, built("baselines/popularity", recommend))
    ]
    assert found[0] > 1.2 * found[1], found
