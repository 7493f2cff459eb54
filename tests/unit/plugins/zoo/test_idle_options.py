"""An option that would do nothing is refused, or does what it says: lists of features, losses, labels, rates, the candidate."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

import autorec_zoo
from autorec_kernel.errors import ContractError, UnknownNameError, UsageError
from autorec_kernel.models import FitSettings, train
from autorec_zoo import (
    BST,
    DCN,
    DIEN,
    DIN,
    DSSM,
    EDCN,
    ESMM,
    DeepFM,
    Field,
    FinalMLP,
    GRU4Rec,
    History,
    MMoE,
    MultVAE,
    SASRec,
    Transformer,
    YouTubeDNN,
)

pytestmark = pytest.mark.plugins

USER, ITEM, PAST = Field("user_id", 20), Field("item_id", 30), History("history", "item_id", 30)
LISTS = ("features", "wide_features", "deep_features", "user_features", "item_features", "behavior_features")
MODELS = [
    (name, key)
    for name in dir(autorec_zoo)
    for key in LISTS
    if name[0].isupper() and key in inspect.signature(getattr(autorec_zoo, name)).parameters
]


def asked(name):
    """Return feature lists that suit a model."""
    lists = {"user_features": [USER], "item_features": [ITEM], "behavior_features": [PAST]}
    return {key: lists.get(key, [USER, ITEM]) for model, key in MODELS if model == name}


@pytest.mark.parametrize(("name", "option"), MODELS)
def test_an_empty_list_of_features_and_one_that_repeats_are_refused_by_name(name, option):
    made, given = getattr(autorec_zoo, name), asked(name)
    extra = {"columns": [USER, ITEM, PAST]}
    with pytest.raises(ContractError, match=f"{option} is an empty list") as caught:
        made(**{**given, option: []}, **extra)
    assert f"leave {option} out" in caught.value.hint
    twice = given[option][:1] * 2
    with pytest.raises(ContractError, match=f"{option} names {twice[0].name!r} twice"):
        made(**{**given, option: twice}, **extra)


def test_a_context_that_repeats_is_refused_and_an_empty_one_is_a_choice():
    with pytest.raises(ContractError, match="first_context names 'user_id' twice"):
        FinalMLP([USER, ITEM], first_context=["user_id", "user_id"])
    assert FinalMLP([USER, ITEM], first_context=[]).inputs == ("user_id", "item_id")


def test_a_name_without_a_schema_is_answered_with_how_to_give_one():
    with pytest.raises(UsageError, match="'user_id', and there is no schema") as caught:
        DeepFM(features=["user_id"])
    assert "schema=" in caught.value.hint
    assert "Field(name, size)" in caught.value.hint
    assert DeepFM(features=["user_id"], columns=[USER, ITEM]).inputs == ("user_id",)


def test_a_name_that_a_schema_lacks_is_still_answered_with_the_nearest(features_of):
    with pytest.raises(UnknownNameError, match="did you mean 'user_id'"):
        DeepFM(features=["user_idd"], schema=features_of("click").schema)


@pytest.mark.parametrize(
    ("made", "labels", "idle"),
    [
        (lambda **o: DeepFM([USER, ITEM], **o), ["a", "b"], "b"),
        (lambda **o: SASRec(item_num=30, **o), "a", "a"),
        (lambda **o: DSSM([USER], [ITEM], **o), "a", "a"),
        (lambda **o: YouTubeDNN([USER], [ITEM], **o), "a", "a"),
        (lambda **o: ESMM([USER, ITEM], **o), ["a", "b", "c"], "c"),
    ],
)
def test_a_label_that_would_be_left_out_is_refused(made, labels, idle):
    with pytest.raises(UsageError, match=rf"\['{idle}'\] would be left out"):
        made(labels=labels)


def test_labels_that_are_learned_are_taken():
    assert DeepFM([USER, ITEM], labels="a").tasks == ("a",)
    assert MMoE([USER, ITEM], labels=["a", "b", "c"]).tasks == ("a", "b", "c")
    assert "@label:a" in YouTubeDNN([USER], [ITEM], labels="a", task_weight=0.5).training_inputs


@pytest.mark.parametrize(
    ("made", "layers", "options"),
    [
        (DeepFM, 2, {"hidden_units": [8, 8]}),
        (DCN, 0, {"hidden_units": []}),
        (EDCN, 3, {"hidden_units": [8], "cross_num": 3}),
        (FinalMLP, 3, {"hidden_units": [8], "second_units": [8, 8, 8]}),
        (DeepFM, 3, {}),
    ],
)
def test_more_dropout_rates_than_layers_are_refused(made, layers, options):
    made([USER, ITEM], dropout_rates=[0.1] * layers, **options)
    with pytest.raises(UsageError, match=rf"there are {layers + 1} dropout_rates for {layers} layers"):
        made([USER, ITEM], dropout_rates=[0.1] * (layers + 1), **options)


def test_rates_beyond_the_layers_make_no_other_candidate_of_a_search(kernel, features_of):
    schema = features_of("click").schema
    few, many = (kernel.create("blueprint", "zoo/deepfm", hidden_units=(8,), dropout_rates=rates) for rates in ((0.1,), (0.1, 0.4)))
    assert few.architecture(schema).digest() == many.architecture(schema).digest()


def blocks_of(network):
    return {node.block for node in network.architecture.nodes}


def test_negatives_by_popularity_choose_a_loss_that_draws_them(kernel, features_of):
    schema = features_of("recommend").schema
    graph = kernel.create("blueprint", "zoo/gru4rec", sample_power=0.5).architecture(schema)
    assert {"blocks/popular-items", "blocks/sampled-softmax-loss"} <= {node.block for node in graph.nodes}
    with pytest.raises(ContractError, match="sample_power"):
        kernel.create("blueprint", "zoo/gru4rec", sample_power=0.5, loss="softmax").architecture(schema)
    assert "blocks/softmax-loss" in blocks_of(GRU4Rec(item_num=30))


@pytest.mark.parametrize("loss", ["sampled", "bce", "gbce", "bpr-max", "top1-max"])
def test_smoothing_is_refused_where_no_full_softmax_is_smoothed(loss):
    with pytest.raises(ContractError, match=f"smoothing is that of a full softmax, and the loss is '{loss}'"):
        SASRec(item_num=30, loss=loss, smoothing=0.1)
    assert "blocks/softmax-loss" in blocks_of(SASRec(item_num=30, smoothing=0.1))
    assert "blocks/softmax-loss" not in blocks_of(Transformer(item_num=30, loss=loss))


def test_smoothing_is_refused_where_auto_is_sampled_for_the_size_of_the_catalogue(kernel, features_of):
    large = replace(features_of("recommend").schema, events=10**10)
    with pytest.raises(ContractError, match="on a catalogue of this size") as caught:
        kernel.create("blueprint", "zoo/sasrec", smoothing=0.1).architecture(large)
    assert 'loss="softmax"' in caught.value.hint


@pytest.mark.parametrize("made", [DIN, DIEN])
def test_the_network_reads_the_candidate_that_the_features_leave_out(made):
    without = made(["user_id"], [PAST], columns=[USER, ITEM], activation="relu")
    assert without.architecture["all"].inputs[1] == "candidate"
    assert "candidate" not in made([USER, ITEM], [PAST], activation="relu").architecture["all"].inputs, "not twice"
    without.eval()
    empty = torch.zeros(2, 3, dtype=torch.int64)
    inputs = {"user_id": torch.ones(2, dtype=torch.int64), "item_id": torch.tensor([1, 2]), "history": empty}
    (answers,) = without.serve(*(inputs[name] for name in without.inputs))
    assert answers[0] != answers[1], "candidates of one user without a history differ"


def test_the_candidate_of_bst_reaches_the_network_through_the_sequence():
    network = BST(["user_id"], [PAST], columns=[USER, ITEM]).eval()
    inputs = {"user_id": torch.ones(2, dtype=torch.int64), "item_id": torch.tensor([1, 2]), "history": torch.zeros(2, 3, dtype=torch.int64)}
    (answers,) = network.serve(*(inputs[name] for name in network.inputs))
    assert answers[0] != answers[1]


def test_the_weight_of_the_divergence_grows_linearly_to_its_cap():
    network = MultVAE(columns=[ITEM, PAST], beta=0.4, anneal_steps=4, dropout=0.0)
    whole = MultVAE(columns=[ITEM, PAST], beta=0.4, dropout=0.0)
    loss, steady = network.parts["n_divergence"], whole.parts["n_divergence"]
    mean, spread = torch.randn(3, 5), torch.randn(3, 5)
    full = steady(mean, spread).item()
    assert [loss(mean, spread).item() / full for _ in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert not list(steady.buffers()), "nothing is counted where nothing grows"
    fresh = MultVAE(columns=[ITEM, PAST], beta=0.4, anneal_steps=4, dropout=0.0)
    fresh.parts["n_divergence"](mean, spread)
    other = MultVAE(columns=[ITEM, PAST], beta=0.4, anneal_steps=4, dropout=0.0)
    other.load_state_dict(fresh.state_dict())
    assert other.parts["n_divergence"](mean, spread).item() / full == pytest.approx(0.5), "the count is saved"
    before = int(other.parts["n_divergence"].updates)
    assert other.eval().parts["n_divergence"](mean, spread).item() == pytest.approx(full)
    assert int(other.parts["n_divergence"].updates) == before, "serving counts nothing"


def test_a_fit_counts_its_updates_once_each(kernel, features_of):
    features = features_of("recommend")
    graph = kernel.create("blueprint", "zoo/multvae", hidden_dim=8, latent_dim=4, anneal_steps=100).architecture(features.schema)
    settings = FitSettings(batch_size=16, epochs=2, patience=0)
    network, _ = train(graph, features, features.schema, kernel, settings, seed=0, trial=0)
    users = len(np.unique(features.user_rows[features.positive_rows()]))
    assert int(network.parts["n_divergence"].updates) == 2 * -(-users // 16)
