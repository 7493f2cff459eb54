"""PNN, NFM and crosses of a linear model, put together by hand from the values of their nodes."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from autorec_kernel.models.batches import to_tensors


@pytest.fixture
def run(built, features_of):
    def make(name, **config):
        features = features_of("click")
        network = built(name, features, **config)
        names = [one for one in network.training_inputs if not one.startswith("@")]
        return network, network(to_tensors(features.row_inputs(names, features.rows("train")[:6]), "cpu"))

    return make


def test_pnn_reads_the_fields_and_the_inner_product_of_each_pair_once(run):
    network, values = run("zoo/pnn", embedding_dim=4, dropout_rates=[])
    fields = values[network.architecture["products"].inputs[0]]
    expected = torch.stack([(fields[:, i] * fields[:, j]).sum(1) for i, j in combinations(range(fields.shape[1]), 2)], 1)
    assert torch.allclose(values["products"].sort(1).values, expected.sort(1).values, atol=1e-6)
    assert torch.equal(values["read"], torch.cat([fields.flatten(1), values["products"]], 1))


def test_nfm_pools_the_products_of_all_pairs_before_its_network(run):
    network, values = run("zoo/nfm", embedding_dim=4, dropout_rates=[])
    fields = values[network.architecture["pooled"].inputs[0]]
    expected = sum(fields[:, i] * fields[:, j] for i, j in combinations(range(fields.shape[1]), 2))
    assert torch.allclose(values["pooled"], expected, atol=1e-6)


def test_a_linear_model_takes_hashed_crosses_of_its_ids(run):
    network, values = run("zoo/lr", cross_buckets=4096)
    plain, _ = run("zoo/lr")
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in plain.parameters()) + 4096
    assert values["crosses"].shape == (6, 1)


def test_the_denoising_autoencoder_draws_nothing_and_has_no_divergence(built, features_of):
    features = features_of("recommend")
    network = built("zoo/multdae", features, hidden_dim=64, latent_dim=16)
    assert [node.block for node in network.architecture.nodes if network.specs[node.id].port == "loss"] == ["blocks/multinomial-loss"]
    assert network.specs["code"].width == 16
    assert network.item_vectors().shape == (features.schema.items, 65)
