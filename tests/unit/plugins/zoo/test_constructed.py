"""What a network made by a Python constructor does when it is called: with data given by hand, and with wrong data."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch

import autorec_zoo
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.errors import ContractError, DataError, UnknownNameError, UsageError
from autorec_kernel.models import build_network
from autorec_zoo import DIN, DSSM, Bag, DeepFM, FaceBookDSSM, Field, GRU4Rec, History, ItemAutoRec, MultVAE, Numeric, SASRec, YouTubeDNN

pytestmark = pytest.mark.plugins

USER, ITEM, BRAND, PAST = Field("user_id", 50), Field("item_id", 100), Field("brand", 7), History("history", "item_id", 100)
IDS = torch.tensor([1, 2, 0])
BRANDS = torch.arange(101) % 8
WITH_STEPS = ("BERT4Rec", "DIEN", "DIN", "BST", "GRU4Rec", "MIND", "MultDAE", "MultVAE", "NARM", "NextItNet", "SASRec", "Transformer")


def plain() -> torch.nn.Module:
    return DeepFM([USER, ITEM], [8], embedding_dim=4)


def batch_of(network, **values):
    """Return a batch of three rows for any constructed network."""
    found = {"user_id": IDS, "item_id": IDS + 4, "brand": IDS, "history": torch.tensor([[1, 2], [3, 0], [0, 0]]), **values}
    shape = found["history"].shape if network.architecture.batching in ("sequence", "session", "user") else (3,)
    negatives = [node.config for node in network.architecture.nodes if node.block == "@negatives"]
    drawn = [(config["count"],) if config.get("shared") else (3, config["count"]) for config in negatives][:1]
    batch = {name: found[name] for name in network.training_inputs if name in found}
    batch |= {name: torch.ones(3) for name in network.training_inputs if name.startswith("@label:")}
    batch |= {"@target": torch.ones(shape, dtype=torch.int64)} if "@target" in network.training_inputs else {}
    return {**batch, **dict(zip(["@negatives"], [torch.full(size, 5) for size in drawn], strict=False))}


@pytest.mark.parametrize("model", [DSSM, FaceBookDSSM])
@pytest.mark.parametrize("pairs", [False, True])
def test_towers_of_records_answer_users_and_items_with_features(model, pairs):
    option = {"pairwise": pairs} if model is FaceBookDSSM else {"loss": "bpr" if pairs else "in-batch"}
    network = model(user_features=[USER], item_features=[ITEM, BRAND], **option)
    assert network.eval().serve(IDS)[0].shape == (3, 64), "the user tower alone"
    with pytest.raises(ContractError, match="'@item:brand'") as caught:
        network.item_vectors()
    assert "attach(items={'brand': …})" in caught.value.hint
    assert "101" in caught.value.hint
    vectors = network.attach(items={"brand": BRANDS}).item_vectors()
    other = network.attach(items={"brand": BRANDS.flip(0)}).item_vectors()
    assert vectors.shape == (101, 64)
    assert not torch.allclose(vectors, other), "the features given are those that are read"
    network.train().loss(batch_of(network)).backward()


def test_a_tower_gives_an_item_the_same_vector_from_a_batch_and_from_what_was_attached():
    network = DSSM([USER], [ITEM, BRAND]).attach(items={"brand": BRANDS}).eval()
    values = network({"user_id": IDS, "item_id": IDS + 4, "brand": BRANDS[IDS + 4], "@target": IDS + 4})
    assert torch.allclose(values["chosen"], network.item_vectors()[IDS + 4], atol=1e-6)


def test_a_network_over_a_catalogue_of_features_learns_and_answers_once_they_are_given():
    network = YouTubeDNN([USER, PAST], [ITEM, BRAND, Bag("tags", 3)], loss="softmax")
    with pytest.raises(ContractError, match="built without data"):
        network.loss(batch_of(network))
    network.attach(items={"brand": BRANDS.numpy()}).attach(items={"tags": torch.zeros(101, 4, dtype=torch.int64)})
    network.loss(batch_of(network)).backward()
    assert network.eval().serve(*(batch_of(network)[name] for name in network.inputs))[0].shape == (3, 64)


def test_ratings_may_be_given_to_an_autoencoder_of_them():
    network = ItemAutoRec(columns=[USER, ITEM], labels={"stars": (1, 5)}, dropout=0.0)
    with pytest.raises(ContractError, match="@interactions") as caught:
        network.loss({})
    assert "attach(items={'@interactions'" in caught.value.hint
    ratings = torch.full((101, 51), torch.nan)
    ratings[3, 1], ratings[3, 2] = 4.0, 0.0
    network.attach(items={"@interactions": ratings})
    scores = network({})["ratings_again"]
    expected = ((scores[3, 1] - 4) ** 2 + scores[3, 2] ** 2) / 2
    assert network.loss({}).item() == pytest.approx(expected.item(), rel=1e-4), "a rating of 0 counts, none does not"
    assert network.eval().serve(torch.tensor([3]), torch.tensor([1]))[0].shape == (1,)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"brand": BRANDS[1:]}, UsageError, r"'brand' of items must be whole numbers \[101\].*got int64 \[100\]"),
        ({"brand": BRANDS.float()}, UsageError, "got float32"),
        ({"brand": BRANDS + 1}, DataError, "holds 8: its values run from 0"),
        ({"price": torch.zeros(101, 3)}, UsageError, r"numbers \[101, 2\]"),
        ({"brnd": BRANDS}, UnknownNameError, "did you mean 'brand'"),
        ({"user_id": IDS}, UnknownNameError, "feature of the item"),
        ({"@interactions": torch.zeros(101, 3)}, UsageError, r"\[101, 51\]"),
    ],
)
def test_what_is_attached_must_fit_the_catalogue(given, error, message):
    network = DSSM([USER], [ITEM, BRAND, Numeric("price", 2)])
    with pytest.raises(error, match=message):
        network.attach(items=given)


def test_a_copy_keeps_what_was_attached():
    network = DSSM([USER], [ITEM, BRAND]).attach(items={"brand": BRANDS}).eval()
    assert torch.equal(copy.deepcopy(network).item_vectors(), network.item_vectors())


@pytest.mark.parametrize(("column", "value", "end"), [("item_id", -1, 100), ("user_id", 51, 50), ("item_id", 101, 100)])
def test_an_id_out_of_range_is_refused_by_name(column, value, end):
    network = plain()
    batch = {"user_id": IDS, "item_id": IDS, "@label:label": torch.ones(3)}
    wrong = {**batch, column: torch.tensor([1, value, 0])}
    for call in (network.loss, network, lambda batch: network.serve(*(batch[name] for name in network.inputs))):
        call(batch)
        with pytest.raises(DataError, match=rf"'{column}' holds {value}: its ids run from 0 \(unknown\) to {end}"):
            call(wrong)


@pytest.mark.parametrize("entry", ["history", "@target", "@negatives"])
def test_ids_of_histories_targets_and_negatives_are_looked_at_too(entry):
    network = SASRec(item_num=100, loss="bce")
    batch = batch_of(network)
    network.loss(batch)
    batch[entry] = batch[entry].clone()
    batch[entry].view(-1)[0] = 101
    with pytest.raises(DataError, match=entry):
        network.loss(batch)


def test_what_a_batch_lacks_is_named():
    network = plain()
    with pytest.raises(UsageError, match=r"lacks \['item_id', '@label:label'\]") as caught:
        network.loss({"user_id": IDS})
    assert "'user_id', 'item_id', '@label:label'" in caught.value.hint
    with pytest.raises(UsageError, match=r"lacks \['item_id'\]"):
        network({"user_id": IDS})
    with pytest.raises(UsageError, match="takes 2 tensors and got 1") as caught:
        network.serve(IDS)
    assert "user_id, item_id" in caught.value.hint
    with pytest.raises(UsageError, match="got a Tensor"):
        network.loss(IDS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"item_id": IDS.float()}, r"'item_id' must be int64 \[B\], got float32 \[3\]"),
        ({"item_id": IDS.unsqueeze(1)}, r"got int64 \[3, 1\]"),
        ({"item_id": [1, 2, 3]}, "got a list"),
        ({"item_id": IDS[:2]}, "different numbers of rows"),
        ({"history": IDS}, r"'history' must be int64 \[B, L\]"),
        ({"price": torch.zeros(3)}, r"'price' must be float32 \[B, 2\]"),
        ({"price": torch.zeros(3, 2, dtype=torch.float64)}, "got float64"),
        ({"@label:label": torch.ones(3, 1)}, r"'@label:label' must be float32 \[B\]"),
        ({"@label:label": torch.ones(3, dtype=torch.int64)}, "got int64"),
    ],
)
def test_values_of_another_type_or_shape_are_named(wrong, message):
    network = DIN([USER, ITEM, Numeric("price", 2)], [PAST])
    batch = batch_of(network, price=torch.zeros(3, 2))
    network.loss(batch)
    with pytest.raises(UsageError, match=message):
        network.loss({**batch, **wrong})


def test_a_history_and_its_targets_must_be_of_one_length():
    network = GRU4Rec(item_num=100)
    with pytest.raises(UsageError, match="every step of a history has a target"):
        network.loss({"history": torch.ones(3, 4, dtype=torch.int64), "@target": torch.ones(3, 5, dtype=torch.int64)})
    bags = MultVAE(columns=[ITEM, PAST])
    bags.loss({"history": torch.ones(3, 4, dtype=torch.int64), "@target": torch.ones(3, 5, dtype=torch.int64)})


@pytest.mark.parametrize("name", WITH_STEPS)
def test_users_without_any_step_are_users_with_padding(name):
    made = getattr(autorec_zoo, name)
    asked = inspect.signature(made).parameters
    network = made([USER, ITEM], [PAST]) if "features" in asked else made(columns=[ITEM, PAST])
    none, padding = (torch.zeros(3, length, dtype=torch.int64) for length in (0, 1))
    network.loss(batch_of(network, history=none))
    network.eval()
    empty, padded = ([*network.serve(*(batch_of(network, history=ids)[key] for key in network.inputs))] for ids in (none, padding))
    assert all(torch.equal(one, other) and torch.isfinite(one).all() for one, other in zip(empty, padded, strict=True))


def test_checks_are_no_part_of_an_exported_graph(kernel):
    network = DIN([USER, ITEM], [PAST], activation="relu").eval()
    twin = build_network(network.architecture, network.schema, kernel, seed=0).eval()
    sample = {"user_id": np.array([1]), "item_id": np.array([2]), "history": np.array([[3, 4, 0]])}
    assert export_onnx(network, sample) == export_onnx(twin, sample)


def test_a_star_import_brings_the_constructors():
    assert {"DeepFM", "SASRec", "Field", "History"} <= set(autorec_zoo.__all__)
