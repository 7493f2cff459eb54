"""AutoRec against dense matrices made here from the training rows: what goes in, what is counted, what decays, how it is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.models import FitSettings, predict_rows, row_metrics, train
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.entities import Entities

BOTH = ("zoo/autorec-item", "zoo/autorec-user")
SETTINGS = FitSettings(learning_rate=0.01, batch_size=4096, epochs=1, patience=0, optimiser="adamw", clip_norm=0.0, sparse="off")


@pytest.fixture
def rate(features_of):
    return features_of("rate")


def sides(rate, name):
    """Return the rows of the autoencoder's own side and of the other one."""
    return (rate.item_rows, rate.user_rows) if name == "zoo/autorec-item" else (rate.user_rows, rate.item_rows)


def matrix_of(rate, name, *splits):
    """Return ratings [own, other] of some parts, 0 = unknown, from the rows and their labels alone."""
    counts = (rate.schema.items, rate.schema.users)
    ratings = np.zeros(counts if name == "zoo/autorec-item" else counts[::-1], np.float32)
    own, other = sides(rate, name)
    for split in splits:
        for row in rate.rows(split):
            if own[row] and other[row]:
                ratings[own[row], other[row]] = rate.labels("rating")[row]
    return ratings


def autorec(built, rate, name, **config):
    network = built(name, rate, **{"hidden_units": (12,), **config}).attach(Entities(rate))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (one for one in network.parameters() if one.requires_grad):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        network.part("offsets").weight.add_(3.0)  # in the middle of the scale
    return network


def rebuilt(network, ratings):
    """Return f(W g(V r + μ) + b) of every entity, unclipped, with g the sigmoid and f the identity."""
    v, mu = network.part("weighed").weight.detach().numpy(), network.part("hidden").bias.detach().numpy()
    with torch.no_grad():
        w, b = network.part("weights")().numpy(), network.part("offsets")().numpy()[:, 0]
    return 1 / (1 + np.exp(-(ratings @ v.T + mu))) @ w.T + b


@pytest.mark.parametrize("name", BOTH)
def test_the_input_is_the_matrix_of_training_ratings_and_nothing_else(built, rate, name):
    network, ratings = autorec(built, rate, name), matrix_of(rate, name, "train")
    source = f"@{network.architecture.batching}:@interactions"
    given = Entities(rate).inputs([source], np.arange(len(ratings)))[source]
    assert np.array_equal(given, ratings)
    later = matrix_of(rate, name, "valid")
    assert later[ratings == 0].any()
    assert not given[(later != 0) & (ratings == 0)].any()


@pytest.mark.parametrize("name", BOTH)
def test_the_root_mean_square_error_is_that_of_the_held_ratings_rebuilt_from_the_training_matrix(built, rate, name):
    network = autorec(built, rate, name)
    held = matrix_of(rate, name, "valid")
    low, high, _ = rate.schema.label_range["rating"]
    told = np.clip(rebuilt(network, matrix_of(rate, name, "train")), low, high)
    own, other = sides(rate, name)
    known = rate.rows("valid")[(own[rate.rows("valid")] > 0) & (other[rate.rows("valid")] > 0)]
    assert len(known) == len(rate.rows("valid")) == (held != 0).sum()
    mask = held != 0
    expected = np.sqrt((mask * (held - told) ** 2).sum() / mask.sum())
    result, _ = row_metrics(network, rate, "valid", "rating", ("rmse",))
    assert result.values["rmse"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_serving_rebuilds_known_and_unknown_pairs_alike(built, rate, name):
    network, ratings = autorec(built, rate, name).eval(), matrix_of(rate, name, "train")
    own, other = sides(rate, name)
    rows = np.concatenate([rate.rows("train")[:40], rate.rows("valid")[:40]])
    low, high, _ = rate.schema.label_range["rating"]
    expected = np.clip(rebuilt(network, ratings)[own[rows], other[rows]], low, high)
    assert np.allclose(predict_rows(network, rate, rows, "rating"), expected, atol=1e-4)
    assert (ratings[own[rows], other[rows]] == 0).any()
    assert ((expected > low) & (expected < high)).mean() > 0.8


@pytest.mark.parametrize("name", BOTH)
def test_training_hears_from_known_ratings_only_though_every_rating_is_rebuilt(built, rate, name):
    network = autorec(built, rate, name).train()
    batch = next(batches_for(network, rate, 8).epoch(np.random.default_rng(0)))
    values = network(batch)
    observed = values["ratings"] != 0
    (heard,) = torch.autograd.grad(values["loss"], values["ratings_again"])
    assert values["ratings_again"].shape == observed.shape
    assert torch.equal(heard != 0, observed)
    assert (values["ratings_again"][~observed] != 0).any()
    expected = 2 * (values["ratings_again"] - values["ratings"]) * observed / observed.sum()
    assert torch.allclose(heard, expected, atol=1e-6)


def first_weights(kernel, graph, rate, settings):
    network, _ = train(graph, rate, rate.schema, kernel, settings, seed=5, trial=0)
    return {name: network.part(name).weight.detach().clone() for name in ("weighed", "weights")}


@pytest.mark.parametrize("name", BOTH)
def test_a_step_shrinks_both_matrices_by_the_penalty_once(kernel, rate, name):
    graph = kernel.create("blueprint", name, hidden_units=(50,), initial_scale=1.0).architecture(rate.schema)
    start = first_weights(kernel, graph, rate, replace(SETTINGS, epochs=0))
    free = first_weights(kernel, graph, rate, SETTINGS)
    penalised = first_weights(kernel, graph, rate, replace(SETTINGS, weight_decay=2.0))
    for part, weight in start.items():
        assert not torch.equal(free[part], weight)
        assert torch.allclose(free[part] - penalised[part], 0.01 * 2.0 * weight, atol=1e-5), part


@pytest.mark.parametrize("inner", ["identity", "sigmoid", "tanh", "relu", "gelu", "silu"])
@pytest.mark.parametrize("outer", ["identity", "sigmoid", "tanh", "relu", "gelu", "silu"])
def test_every_pair_of_functions_learns_ratings_in_their_range(kernel, rate, inner, outer):
    graph = kernel.create("blueprint", BOTH[0], hidden_units=(50,), encoder_activation=inner, decoder_activation=outer).architecture(
        rate.schema
    )
    network, report = train(graph, rate, rate.schema, kernel, replace(SETTINGS, epochs=8, batch_size=16), seed=0, trial=0)
    assert report.losses[-1] < report.losses[0]
    found = predict_rows(network, rate, rate.rows("valid"), "rating")
    low, high, _ = rate.schema.label_range["rating"]
    assert np.isfinite(found).all()
    assert ((found >= low) & (found <= high)).all()
