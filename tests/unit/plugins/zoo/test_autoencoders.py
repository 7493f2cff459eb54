from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_kernel.data.open import open_dataset
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.features import build_features
from autorec_kernel.models import predict_rows
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.entities import Entities

BOTH = ("zoo/autorec-item", "zoo/autorec-user")
FUNCTIONS = {
    "identity": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.fixture
def rate(features_of):
    return features_of("rate")


def autorec(built, rate, name="zoo/autorec-item", **config):
    network = built(name, rate, **{"hidden_units": (12,), **config}).attach(Entities(rate))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return network


def matrix(rate, name):
    events = rate.interactions
    ratings = np.zeros((events.users, events.item_count), np.float32)
    for user in range(events.users):
        span = slice(events.offsets[user], events.offsets[user + 1])
        for item, value in zip(events.items[span], events.values[span], strict=True):
            ratings[user, item] = value
    return ratings if name == "zoo/autorec-user" else ratings.T


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(("inner", "outer"), [("sigmoid", "identity"), ("tanh", "sigmoid"), ("relu", "identity"), ("identity", "identity")])
def test_a_rating_is_rebuilt_by_the_formula(built, rate, name, inner, outer):
    network = autorec(built, rate, name, encoder_activation=inner, decoder_activation=outer)
    v, mu = network.part("weighed").weight.detach().numpy(), network.part("hidden").bias.detach().numpy()
    with torch.no_grad():
        w, b = network.part("weights")().numpy(), network.part("offsets")().numpy()[:, 0]
    rows = rate.rows("train")[:20]
    own, other = (rate.item_rows, rate.user_rows) if name == "zoo/autorec-item" else (rate.user_rows, rate.item_rows)
    low, high, _ = rate.schema.label_range["rating"]
    ratings, expected = matrix(rate, name), []
    for row in rows:
        hidden = FUNCTIONS[inner](v @ ratings[own[row]] + mu)
        value = FUNCTIONS[outer](w[other[row]] @ hidden + b[other[row]])
        expected.append(low + (high - low) * value if outer == "sigmoid" else value)
    assert np.allclose(predict_rows(network, rate, rows, "rating"), np.clip(expected, low, high), atol=1e-4)


@pytest.mark.parametrize("name", BOTH)
def test_defaults_are_those_of_the_reference(kernel, rate, name):
    graph = kernel.create("blueprint", name).architecture(rate.schema)
    assert graph["weighed"].config == {"width": 500, "bias": False, "initial_scale": 0.01}
    assert graph["hidden"].config == {"activation": "sigmoid", "dropout": 0.05}
    assert graph["rating"].config["activation"] == "identity"
    assert graph["weights"].config["initial_scale"] == 0.01
    assert graph.batching == name.removeprefix("zoo/autorec-")


def first_batch(network, rate, size=8):
    return next(batches_for(network, rate, size).epoch(np.random.default_rng(0)))


def test_the_loss_counts_known_ratings_only(built, rate):
    network = autorec(built, rate)
    batch = first_batch(network, rate)
    with torch.no_grad():
        values = network(batch)
    observed, rebuilt = values["ratings"].numpy(), values["ratings_again"].numpy()
    errors = [(rebuilt[a, m] - observed[a, m]) ** 2 for a in range(len(observed)) for m in range(observed.shape[1]) if observed[a, m]]
    assert values["loss"].item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_users_without_a_rating_in_the_batch_move_no_weight(built, rate):
    network = autorec(built, rate).train()
    batch = first_batch(network, rate, 2)
    network.loss(batch).backward()
    known = (batch["@item:@interactions"] != 0).any(0)
    assert known.any()
    assert not known.all()
    encoder, decoder = network.part("weighed").weight.grad, network.part("weights").weight.grad
    assert not encoder[:, ~known].any()
    assert not decoder[~known[1:]].any()
    assert encoder[:, known].any()
    assert decoder[known[1:]].any(1).all()


@pytest.mark.parametrize("name", BOTH)
def test_an_epoch_sees_every_rated_entity_once_and_keeps_the_last_batch(built, rate, name):
    network = autorec(built, rate, name)
    batches = list(batches_for(network, rate, 7).epoch(np.random.default_rng(0)))
    seen = np.concatenate([next(iter(batch.values())).numpy() for batch in batches])
    ratings = matrix(rate, name)
    rated = ratings[(ratings != 0).any(1)]
    assert len(seen) == len(rated)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, rated))


@pytest.mark.parametrize("name", BOTH)
def test_test_ratings_never_reach_the_input(built, rate, name):
    network = autorec(built, rate, name)
    with torch.no_grad():
        known = {bytes(row) for row in matrix(rate, name)}
        axis = network.architecture.batching
        source = f"@{axis}:@interactions"
        given = Entities(rate).inputs([source], np.arange(len(known)))[source]
    valid = rate.rows("valid")
    own, other = (rate.item_rows, rate.user_rows) if axis == "item" else (rate.user_rows, rate.item_rows)
    trained = matrix(rate, name)
    for row in valid[:50]:
        if own[row] < len(given) and not trained[own[row], other[row]]:
            assert given[own[row], other[row]] == 0


@pytest.mark.parametrize("name", BOTH)
def test_serving_rebuilds_everything_and_clips_to_the_scale(built, rate, name):
    network = autorec(built, rate, name)
    low, high, _ = rate.schema.label_range["rating"]
    unseen = np.array([row for row in rate.rows("valid") if not matrix(rate, "zoo/autorec-user")[rate.user_rows[row], rate.item_rows[row]]])
    found = predict_rows(network, rate, unseen, "rating")
    assert np.isfinite(found).all()
    assert found.min() >= low
    assert found.max() <= high
    with torch.no_grad():
        stranger = network.serve(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))[0]
    assert torch.isfinite(stranger).all()


def test_dropout_follows_the_encoder_and_stops_in_serving(built, rate):
    network = autorec(built, rate, dropout=0.5)
    batch = first_batch(network, rate)
    with torch.no_grad():
        network.train()
        dropped = network(batch)["hidden"]
        network.eval()
        whole = network(batch)["hidden"]
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert torch.allclose(dropped[dropped != 0], 2 * whole[dropped != 0], atol=1e-5)


def test_more_hidden_layers_can_be_stacked(built, rate):
    network = autorec(built, rate, hidden_units=(12, 6))
    assert network.part("weights")().shape[1] == 6
    assert network.part("deeper")[0].weight.shape == (6, 12)


def test_weight_decay_is_the_only_penalty(kernel, rate):
    graph = kernel.create("blueprint", "zoo/autorec-item").architecture(rate.schema)
    assert [node.id for node in graph.nodes if node.block.endswith("-loss")] == ["loss"]


def test_hidden_states_and_decoder_are_stored_tables(built, rate):
    assert set(autorec(built, rate).tables.names) == {"code", "decoder"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_the_exported_autoencoder_answers_as_the_network_does(built, rate, name):
    network = autorec(built, rate, name)
    sample = rate.row_inputs(network.inputs, rate.rows("valid")[:9])
    assert parity(network, export_onnx(network, sample), sample) < 1e-5


def test_autorec_needs_ratings_of_users_and_items(kernel, rate):
    from autorec_kernel.records.features import FeatureSchema

    with pytest.raises(ContractError, match="label"):
        kernel.create("blueprint", "zoo/autorec-item").architecture(FeatureSchema())


@pytest.fixture
def vae(built, features_of):
    return built("zoo/multvae", features_of("recommend"), hidden_dim=24, latent_dim=6)


def test_multvae_scores_by_its_formula(vae, features_of):
    features = features_of("recommend")
    history = torch.tensor([[3, 5, 7], [2, 0, 0]])
    with torch.no_grad():
        found = vae.serve(history)[0] @ vae.item_vectors().T
        wide, read = vae.part("read").store, "item#encoder"
        hot = torch.zeros(2, features.schema.items)
        hot[0, [3, 5, 7]] = 1 / np.sqrt(3)
        hot[1, 2] = 1.0
        hidden = torch.tanh(hot @ wide.table(read) + vae.part("hidden").bias)
        mean = vae.part("mean")(hidden)
        decoded = torch.tanh(vae.part("decoded")[0](mean))
        expected = decoded @ wide.table("item#decoder").T + vae.part("offsets").store.table("item#decoder").T
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_loss_of_multvae_is_the_likelihood_of_the_history_plus_the_divergence(built, features_of):
    features = features_of("recommend")
    vae = built("zoo/multvae", features, hidden_dim=24, latent_dim=6, beta=0.3)
    batch = next(batches_for(vae, features, 8).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        values = vae(batch)
        scores = (values["user"] @ values["items"].T)[:, 1:]
    logs = scores - torch.logsumexp(scores, 1, keepdim=True)
    likelihood = -np.mean([sum(logs[a, item - 1].item() for item in row.tolist() if item) for a, row in enumerate(batch["@target"])])
    mean, log = values["mean"].numpy(), values["log_variance"].numpy()
    divergence = 0.5 * (np.exp(log) + mean**2 - 1 - log).sum(1).mean()
    assert values["likelihood"].item() == pytest.approx(likelihood, rel=1e-4)
    assert values["divergence"].item() == pytest.approx(0.3 * divergence, rel=1e-4)


def test_noise_and_thinning_exist_in_training_only(vae):
    history = torch.tensor([[3, 5, 7, 1, 2, 4]])
    with torch.no_grad():
        assert torch.equal(vae.serve(history)[0], vae.serve(history)[0])
        batch = {"history": history, "@target": history}
        vae.train()
        assert not torch.allclose(vae(batch)["code"], vae(batch)["code"])
        vae.eval()
        assert torch.equal(vae(batch)["code"], vae(batch)["mean"])


def test_padding_and_order_of_the_history_change_nothing(vae):
    with torch.no_grad():
        found = [vae.serve(torch.tensor([row]))[0] for row in ([3, 5, 7], [7, 3, 5, 0, 0])]
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.slow
def test_multvae_exports_with_free_batch_and_history(vae, features_of):
    features = features_of("recommend")
    sample = features.row_inputs(vae.inputs, features.rows("valid")[:9])
    assert parity(vae, export_onnx(vae, sample), sample) < 1e-5


@pytest.mark.parametrize("name", BOTH)
def test_a_rating_of_zero_is_a_rating(kernel, built, name):
    """On a scale from 0, an event with the label 0 is in the loss, and a pair without an event is not."""
    pairs = [(user, item) for user in range(12) for item in range(8) if (user * 3 + item) % 4]
    frame = pd.DataFrame({"user_id": [f"u{user}" for user, _ in pairs], "item_id": [f"i{item}" for _, item in pairs]})
    frame["rating"] = [float(4 * (item % 2)) for _, item in pairs]
    frame["timestamp"] = 1_500_000_000 + 60 * np.arange(len(pairs))
    data = build_features(open_dataset(frame, task="rate", protocol="random"), kernel, task="rate")
    network = autorec(built, data, name)
    events, side = data.interactions, name.removeprefix("zoo/autorec-")
    chosen = np.zeros((events.users, events.item_count), bool)
    for user in range(events.users):
        chosen[user, events.items[events.offsets[user] : events.offsets[user + 1]]] = True
    chosen = chosen if side == "user" else chosen.T
    found = Entities(data).inputs([f"@{side}:@observed"], np.arange(len(chosen)))[f"@{side}:@observed"]
    assert np.array_equal(found, chosen.astype(np.float32))
    batch = next(batches_for(network, data, len(chosen)).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        values = network.eval()(batch)
    known = batch[f"@{side}:@observed"].numpy() != 0
    assert known.sum() == chosen.sum() > (values["ratings"].numpy() != 0).sum()
    errors = (values["ratings_again"] - values["ratings"]).numpy()[known] ** 2
    assert values["loss"].item() == pytest.approx(errors.mean(), rel=1e-4)
