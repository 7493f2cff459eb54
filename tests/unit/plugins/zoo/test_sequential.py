from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.models import FitSettings, fit
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.scoring import rank_block
from tests.unit.plugins.zoo.sequence_kit import histories

MODELS = ("sasrec", "gru4rec", "narm", "stamp", "mind", "comirec", "transformer", "nextitnet", "bert4rec")
LOSSES = {
    "softmax": "blocks/softmax-loss",
    "sampled": "blocks/sampled-softmax-loss",
    "bce": "blocks/sampled-bce-loss",
    "gbce": "blocks/sampled-bce-loss",
    "bpr-max": "blocks/ranking-max-loss",
    "top1-max": "blocks/ranking-max-loss",
}


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


def batches_of(network, features, size=64):
    return batches_for(network, features, size).epoch(np.random.default_rng(0))


@pytest.mark.parametrize("name", MODELS)
def test_more_padding_changes_no_answer(built, features, name):
    network = built(f"zoo/{name}", features)
    plain = histories([3, 1, 2], [5], [7, 8, 9, 10])
    longer = torch.cat([plain, torch.zeros(3, 5, dtype=torch.int64)], 1)
    assert torch.allclose(network.serve(plain)[0], network.serve(longer)[0], atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_history_is_answered_alike_alone_and_in_a_batch(built, features, name):
    network = built(f"zoo/{name}", features)
    together = network.serve(histories([3, 1, 2], [5], [7, 8, 9, 10]))[0]
    for row, alone in enumerate(([3, 1, 2], [5], [7, 8, 9, 10])):
        assert torch.allclose(network.serve(histories(alone))[0][0], together[row], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("mind", "stamp")])
def test_the_order_of_a_history_matters(built, features, name):
    network = built(f"zoo/{name}", features)
    first, second = network.serve(histories([3, 1, 2, 4], [1, 3, 2, 4]))[0]
    assert not torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("name", ["sasrec", "narm", "stamp", "transformer", "nextitnet"])
def test_what_comes_later_changes_no_earlier_prediction(built, features, name):
    network = built(f"zoo/{name}", features)
    states = network.architecture["loss"].inputs[0]
    batch = {network.inputs[0]: histories([3, 1, 2, 4]), "@target": histories([1, 2, 4, 6]), "@negatives": torch.tensor([5])}
    changed = {**batch, network.inputs[0]: histories([3, 1, 2, 9])}
    before, after = network(batch)[states][0], network(changed)[states][0]
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_graph_answers_as_the_network_does(built, features, name):
    network = built(f"zoo/{name}", features)
    feature = network.inputs[0]
    graph = export_onnx(network, features.state().inputs(network.inputs, users=np.arange(16)))
    for length in (1, 7):
        assert parity(network, graph, {feature: np.tile(np.arange(1, length + 1), (3, 1))}) < 1e-5, length


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_order_refuses_data_without_one(kernel, features, name):
    with pytest.raises(ContractError, match="ordered"):
        kernel.create("blueprint", name).architecture(replace(features.schema, ordered=False))


@pytest.mark.parametrize("name", MODELS)
def test_a_number_of_items_that_the_catalogue_contradicts_is_refused(kernel, features, name):
    items = features.schema.items - 1
    kernel.create("blueprint", name, item_num=items).architecture(features.schema)
    with pytest.raises(ContractError, match=f"the catalogue has {items} items"):
        kernel.create("blueprint", name, item_num=items + 1).architecture(features.schema)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_objective_is_the_loss_that_it_names(built, features, loss):
    network = built("zoo/sasrec", features, loss=loss).train()
    assert network.architecture["loss"].block == LOSSES[loss]
    value = network.loss(next(iter(batches_of(network, features)))).detach()
    assert torch.isfinite(value)
    assert float(value) > 0


def test_gbce_is_calibrated_and_bce_is_not(kernel, features):
    graphs = [kernel.create("blueprint", "sasrec", loss=loss).architecture(features.schema) for loss in ("gbce", "bce")]
    assert [graph["loss"].config.get("calibration", 0) for graph in graphs] == [0.75, 0]


@pytest.mark.parametrize(("items", "loss"), [(3_000, "blocks/softmax-loss"), (3_000_000, "blocks/sampled-softmax-loss")])
def test_the_whole_catalogue_is_scored_in_training_where_that_is_cheap(kernel, features, items, loss):
    schema = replace(features.schema, items=items, events=100_000)
    assert kernel.create("blueprint", "sasrec").architecture(schema)["loss"].block == loss


def test_gru4rec_starts_each_session_from_zeros_and_goes_on_with_its_state(built, features):
    network = built("zoo/gru4rec", features, num_layers=2, steps=3, dropout_rate=0.0, loss="softmax").train()
    name, seen, met = network.inputs[0], {}, 0
    for batch in batches_of(network, features, 4):
        states = network(batch)["states2"][0]
        for slot in range(len(batch[name])):
            if bool(batch["@reset"][slot]):
                seen[slot] = [[], []]
            real = batch[name][slot] != 0
            seen[slot][0] += batch[name][slot][real].tolist()
            seen[slot][1] += list(states[slot][real].detach())
            if len(seen[slot][0]) > 3:
                met += 1
                whole = network({name: histories(seen[slot][0]), "@target": histories(seen[slot][0])})["states2"][0][0]
                assert torch.allclose(torch.stack(seen[slot][1]), whole, atol=1e-5)
        if met > 8:
            break
    assert met > 8


def test_gru4rec_in_serving_reads_the_whole_history_from_zeros(built, features):
    network = built("zoo/gru4rec", features, steps=3)
    assert network.lengths == {network.inputs[0]: 0}
    row = list(range(1, 30))
    unit = network.part("states1").unit
    embedded = network.part("history").store.table("item")[row].unsqueeze(0)
    expected = network.part("answers")((unit(embedded)[0], torch.ones(1, len(row), dtype=torch.bool)))[0][:, -1]
    assert torch.allclose(network.serve(histories(row))[0], expected, atol=1e-5)


def test_layers_of_gru4rec_have_a_state_each(built, features):
    graph = built("zoo/gru4rec", features, num_layers=3).architecture
    assert [graph[f"states{n}"].inputs for n in (1, 2, 3)] == [("history", "~end1"), ("states1", "~end2"), ("states2", "~end3")]
    assert graph.batching == "session"


def test_negatives_by_popularity_correct_for_it(built, features):
    network = built("zoo/gru4rec", features, loss="sampled", sample_power=0.5).train()
    assert network.architecture["loss"].inputs[3:] == ("drawn", "counts")
    assert network.architecture["loss"].config["power"] == network.architecture["drawn"].config["power"] == 0.5
    assert torch.isfinite(network.loss(next(iter(batches_of(network, features)))))


def test_narm_answers_with_the_last_state_and_its_purpose(built, features):
    network = built("zoo/narm", features, hidden_size=16, embedding_dim=32)
    values = network({network.inputs[0]: histories([3, 1, 2]), "@target": histories([1, 2, 4])})
    states, purpose = values["states"][0][0], network.part("purpose")
    scores = [purpose.score(torch.sigmoid(purpose.now(states[2]) + purpose.then(state))) for state in states]
    mixed = sum(score * state for score, state in zip(scores, states, strict=True))
    decoder = network.part("answers").layer
    assert decoder.bias is None
    assert decoder.weight.shape == (32, 32)
    assert torch.allclose(network.serve(histories([3, 1, 2]))[0][0], decoder(torch.cat([states[2], mixed])), atol=1e-5)


def test_mind_answers_with_interests_and_scores_by_the_best(built, features):
    network = built("zoo/mind", features, num_interests=3, embedding_dim=32)
    users, given = np.array([3, 0]), (np.array([0, 3, 5]), np.array([4, 7, 2, 9, 1]))
    interests = network.serve(histories([4, 7, 2], [9, 1]))[0].detach().numpy()
    assert interests.shape == (2, 3, 32)
    vectors = network.item_vectors().numpy()
    expected = np.stack([np.max([vectors @ interest for interest in row], 0) for row in interests])
    assert np.allclose(rank_block(network, features.state(), users, given, vectors), expected, atol=1e-5)


def test_mind_mixes_its_interests_by_the_target_in_training_only(built, features):
    network = built("zoo/mind", features)
    assert {node.block for node in network.architecture.serving()} & {"blocks/label-attention", "@target"} == set()
    assert network.architecture["loss"].inputs[0] == "suited"


def test_mind_routes_as_often_as_it_is_told(built, features):
    answers = [built("zoo/mind", features, routing_iterations=n).serve(histories([4, 7, 2], [9, 1]))[0] for n in (1, 3, 3)]
    assert not torch.allclose(answers[0], answers[1], atol=1e-5)
    assert torch.equal(answers[1], answers[2])


def test_bert4rec_asks_for_what_it_hid_and_for_what_comes_next(built, features):
    network = built("zoo/bert4rec", features, mask_rate=0.4).train()
    given, wanted = histories([3, 1, 2, 7, 9, 4], [5, 8]), histories([1, 2, 7, 9, 4, 6], [8, 2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        values = network({network.inputs[0]: given, "@target": wanted})
    drawn, (answers, asked), (hidden, mask) = values["drawn_steps"][0], values["answers"], values["hidden"]
    blank, plain = network.part("hidden").blank, values["history"][0]
    assert 0 < int((drawn != 0).sum()) < 8
    assert mask.sum(1).tolist() == [7, 3]
    for row, length in enumerate((6, 2)):
        for step in range(length):
            gone = bool(drawn[row, step])
            assert torch.equal(hidden[row, step], blank if gone else plain[row, step])
            assert int(answers[row, step]) == (int(given[row, step]) if gone else 0)
            assert bool(asked[row, step]) == gone
        assert torch.equal(hidden[row, length], blank)
        assert (int(answers[row, length]), bool(asked[row, length])) == ([6, 2][row], True)


def test_bert4rec_hides_nothing_in_serving_but_what_comes_next(built, features):
    network = built("zoo/bert4rec", features)
    assert not network({network.inputs[0]: histories([3, 1]), "@target": histories([1, 2])})["drawn_steps"][0].any()
    assert torch.equal(network.serve(histories([3, 1]))[0], network.serve(histories([3, 1]))[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_training_lowers_the_loss(built, features, name):
    network = built(f"zoo/{name}", features)
    settings = FitSettings(epochs=40, learning_rate=1e-2, batch_size=128)
    report = fit(network, features, settings, seed=np.random.SeedSequence(1), validate=None)
    share = 0.9 if name == "bert4rec" else 0.67  # what is hidden changes with every step
    assert min(report.losses) < share * report.losses[0]


def test_attention_dropout_reaches_the_encoder(built, features):
    for rate in (0.0, 0.4):
        network = built("zoo/sasrec", features, attention_dropout=rate)
        assert {layer.rate for layer in network.parts["n_states"].layers} == {rate}
