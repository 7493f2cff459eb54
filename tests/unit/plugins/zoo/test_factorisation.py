from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.batching import batches_for

RANKERS = ("zoo/biased-mf", "zoo/neumf")


def training_values(network, features):
    batch = next(batches_for(network, features, 32).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        return batch, network(batch)


@pytest.mark.parametrize("biases", [False, True])
def test_factors_score_by_inner_product_and_a_bias_of_the_item(built, features_of, biases):
    features = features_of("recommend")
    network = built("zoo/mf", features, embedding_dim=8, biases=biases)
    items, users = network.item_vectors(), torch.tensor([1, 3])
    with torch.no_grad():
        found = network.serve(users)[0] @ items.T
        store = network.part("item_factors").store
        expected = store.table("user")[users] @ store.table("item").T
        if biases:
            expected = expected + network.part("item_biases").store.table("item").T
    assert torch.allclose(found, expected, atol=1e-6)
    assert items.shape[1] == 8 + biases


@pytest.mark.parametrize("name", ["zoo/bpr-mf", "zoo/mf"])
def test_pairs_are_learned_from_the_rows_of_the_item_table(built, features_of, name):
    features = features_of("recommend")
    config = {"loss": "bpr"} if name == "zoo/mf" else {}
    network = built(name, features, embedding_dim=8, biases=True, negatives=4, **config)
    batch, values = training_values(network, features)
    assert torch.equal(values["chosen"], network.item_vectors()[batch["@target"]])
    assert torch.equal(values["others"], network.item_vectors()[batch["@negatives"]])
    each = [
        np.log1p(np.exp(-float(values["user"][a] @ (values["chosen"][a] - values["others"][a, k]))))
        for a in range(len(batch["@target"]))
        for k in range(4)
    ]
    assert values["loss"].item() == pytest.approx(np.mean(each), rel=1e-5)


def test_bpr_mf_draws_one_negative_a_pair_by_default(kernel, features_of):
    graph = kernel.create("blueprint", "zoo/bpr-mf").architecture(features_of("recommend").schema)
    assert graph["drawn"].config["count"] == 1
    assert graph["loss"].block == "blocks/bpr-loss"


def test_biased_mf_adds_deviations_and_an_inner_product_to_the_mean(built, features_of):
    features = features_of("rate")
    network = built("zoo/biased-mf", features, embedding_dim=8)
    rows = features.rows("train")[:6]
    batch = to_tensors(features.row_inputs(network.inputs, rows), "cpu")
    with torch.no_grad():
        (found,) = network.serve(*(batch[name] for name in network.inputs))
    users, items = batch["user_id"], batch["item_id"]
    biases, factors = network.part("biases").store, network.part("factors").store
    mean, weights = features.schema.label_range["rating"][2], {}
    for name in ("user", "item"):
        weights[name] = biases.table(name).detach().numpy()[:, 0], factors.table(name).detach().numpy()
    for a in range(6):
        u, i = int(users[a]), int(items[a])
        inner = sum(weights["user"][1][u, d] * weights["item"][1][i, d] for d in range(8))
        assert found[a].item() == pytest.approx(mean + weights["user"][0][u] + weights["item"][0][i] + inner, abs=1e-5)


def test_neumf_joins_a_product_and_a_network_on_factors_of_their_own(built, features_of):
    features = features_of("click")
    network = built("zoo/neumf", features, embedding_dim=8, mlp_dim=16, hidden_units=(6, 4))
    batch = to_tensors(features.row_inputs(network.inputs, features.rows("train")[:6]), "cpu")
    users, items = batch["user_id"], batch["item_id"]
    multiplied, read = network.part("user_factors").store, network.part("both").store
    with torch.no_grad():
        raw = network.raw(*(batch[name] for name in network.inputs))["rating"][:, 0]
        product = multiplied.table("user#product")[users] * multiplied.table("item#product")[items]
        both = torch.cat([read.table("user#network")[users], read.table("item#network")[items]], 1)
        head = network.part("score")
        expected = head.layers[0](product) + head.layers[1](network.part("deep")(both)) + head.offset
    assert torch.allclose(raw, expected[:, 0], atol=1e-5)


def test_equal_widths_do_not_make_neumf_share_factors(built, features_of):
    network = built("zoo/neumf", features_of("click"), embedding_dim=8, mlp_dim=8)
    assert set(network.part("both").store.ranges) == {"user#product", "item#product", "user#network", "item#network"}


@pytest.mark.parametrize("name", RANKERS)
@pytest.mark.parametrize("task", ["rate", "click"])
def test_rankers_of_pairs_serve_labels(kernel, features_of, name, task):
    graph = kernel.create("blueprint", name).architecture(features_of(task).schema)
    assert set(graph.outputs) == {"rating"}
    assert graph["score"].config["link"] == ("value" if task == "rate" else "logit")


@pytest.mark.parametrize(("items", "loss"), [(1_000, "blocks/softmax-loss"), (50_000, "blocks/sampled-softmax-loss")])
@pytest.mark.parametrize("name", ["zoo/mf", "zoo/lightgcn", "zoo/youtube-dnn"])
def test_a_catalogue_too_costly_to_score_is_trained_on_samples(kernel, features_of, name, items, loss):
    schema = replace(features_of("recommend").schema, items=items, events=1_000_000)
    config = {} if name == "zoo/youtube-dnn" else {"loss": "softmax"}
    assert kernel.create("blueprint", name, **config).architecture(schema)["loss"].block == loss
