from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import build_network
from autorec_kernel.models.batches import Batches, to_tensors
from autorec_kernel.records.architecture import Architecture, Node

pytestmark = pytest.mark.plugins


def network_for(kernel, features, name, **config):
    graph = kernel.create("blueprint", name, **config).architecture(features.schema)
    return build_network(graph, features.schema, kernel)


def epoch(batches, seed=0):
    return list(batches.epoch(np.random.default_rng(seed)))


def positives(features):
    history = features.interactions
    return {(user, int(item)) for user in range(history.users) for item in history.of(user)}


def test_an_epoch_holds_every_training_row_once(kernel, features_of):
    features = features_of("rate")
    batches = Batches(network_for(kernel, features, "zoo/deepfm"), features, 50)
    found = epoch(batches)
    rows = features.rows("train")
    assert len(found) == len(batches) == -(-len(rows) // 50)
    assert sorted(torch.cat([b["@label:rating"] for b in found]).tolist()) == sorted(features.labels()[rows].tolist())
    pairs = torch.stack([torch.cat([b[name] for b in found]) for name in ("user_id", "item_id")], 1)
    assert sorted(map(tuple, pairs.tolist())) == sorted(
        zip(features.user_rows[rows].tolist(), features.item_rows[rows].tolist(), strict=True)
    )


def test_the_order_depends_on_the_seed_alone(kernel, features_of):
    features = features_of("rate")
    batches = Batches(network_for(kernel, features, "zoo/deepfm"), features, 50)
    first, again, other = (torch.cat([b["user_id"] for b in epoch(batches, seed)]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [1, 16])
def test_negatives_are_never_training_positives_of_their_user(kernel, features_of, count):
    features = features_of("recommend")
    known = positives(features)
    batches = Batches(network_for(kernel, features, "zoo/mf", loss="bpr", negatives=count), features, 32)
    for seed in range(3):
        for batch in epoch(batches, seed):
            assert batch["@negatives"].shape == (len(batch["user_id"]), count)
            drawn = batch["@negatives"].numpy()
            assert drawn.min() >= 1
            assert drawn.max() < features.schema.items
            assert not {(int(u), int(i)) for u, row in zip(batch["user_id"], drawn, strict=True) for i in row} & known


def test_negatives_reach_every_other_item(kernel, features_of):
    features = features_of("recommend")
    batches = Batches(network_for(kernel, features, "zoo/mf", loss="bpr", negatives=16), features, 1000)
    drawn = np.concatenate([b["@negatives"].numpy().ravel() for seed in range(3) for b in epoch(batches, seed)])
    assert set(drawn.tolist()) == set(range(1, features.schema.items))


def test_a_user_of_the_whole_catalogue_still_gets_negatives(kernel, features_of):
    features = features_of("recommend")
    batches = Batches(network_for(kernel, features, "zoo/mf", loss="bpr"), features, 1000)
    batches._keys = np.arange(features.schema.users * features.schema.items)
    assert all(((b["@negatives"] >= 1) & (b["@negatives"] < features.schema.items)).all() for b in epoch(batches))


def test_a_retriever_learns_from_positive_rows_and_is_told_the_chosen_item(kernel, features_of):
    features = features_of("recommend")
    batches = Batches(network_for(kernel, features, "zoo/mf", loss="softmax"), features, 64)
    found = {(int(u), int(i)) for b in epoch(batches) for u, i in zip(b["user_id"], b["@target"], strict=True)}
    assert found == positives(features)


def test_shared_negatives_are_one_draw_a_batch(kernel, features_of):
    features = features_of("recommend")
    graph = Architecture(
        (
            Node("history", "@history", config={"columns": [features.schema.of("history")[0].name], "width": 4, "length": 5}),
            Node("user", "blocks/pool", ("history",), {"mode": "last"}),
            Node("items", "@table", config={"table": "item", "width": 4}),
            Node("target", "@target", config={"index": True}),
            Node("drawn", "@negatives", config={"index": True, "shared": True, "count": 6}),
            Node("loss", "blocks/sampled-softmax-loss", ("history", "target", "items", "drawn")),
        ),
        {"user": "user", "item": "items"},
        "sequence",
    )
    first, *_ = epoch(Batches(build_network(graph, features.schema, kernel), features, 64))
    assert first["@negatives"].shape == (6,)
    assert first["@negatives"].min() >= 1


def test_sequences_are_histories_and_the_items_that_followed(kernel, features_of):
    features = features_of("recommend")
    batches = Batches(network_for(kernel, features, "zoo/sasrec", max_len=20), features, 64)
    assert batches.size == 8
    steps, targets = (np.concatenate([_padded(b[name], 20) for b in epoch(batches)]) for name in (batches.names[0], "@target"))
    history = features.interactions
    expected = [history.of(user).tolist() for user in range(history.users) if len(history.of(user)) > 1]
    found = sorted([*s[s > 0].tolist(), t[t > 0][-1].item()] for s, t in zip(steps, targets, strict=True))
    assert found == sorted(expected)
    assert all(t[t > 0][:-1].tolist() == s[s > 0][1:].tolist() for s, t in zip(steps, targets, strict=True))


def test_an_unbounded_history_is_trained_on_whole(kernel, features_of):
    features = features_of("recommend")
    name = features.schema.of("history")[0].name
    nodes = (
        Node("history", "@history", config={"columns": [name], "width": 4}),
        Node("user", "blocks/pool", ("history",), {"mode": "last"}),
        Node("items", "@table", config={"table": "item", "width": 4}),
        Node("target", "@target", config={"index": True}),
        Node("loss", "blocks/softmax-loss", ("history", "items", "target")),
    )
    batches = Batches(
        build_network(Architecture(nodes, {"user": "user", "item": "items"}, "sequence"), features.schema, kernel), features, 64
    )
    assert batches.count == sum(len(features.interactions.of(user)) > 1 for user in range(features.schema.users))


def test_sequences_without_a_history_are_refused(kernel, features_of):
    features = features_of("recommend")
    network = network_for(kernel, features, "zoo/mf")
    network.architecture = replace(network.architecture, batching="sequence")
    with pytest.raises(ContractError, match="@history"):
        Batches(network, features, 64)


def test_ids_are_hidden_from_rankers_only(kernel, features_of):
    for task, name, hidden in (("rate", "zoo/deepfm", True), ("recommend", "zoo/mf", False)):
        features = features_of(task)
        batches = Batches(network_for(kernel, features, name), features, 64, id_dropout=0.5)
        unknown = torch.cat([b["user_id"] for b in epoch(batches)]) == 0
        assert (0.3 < unknown.float().mean() < 0.7) == hidden
        assert unknown.any() == hidden


def test_integers_become_int64_and_numbers_float32():
    found = to_tensors({"a": np.array([1], np.int32), "b": np.array([1.0]), "c": np.array([True])}, "cpu")
    assert [found[name].dtype for name in "ab"] == [torch.int64, torch.float32]


def _padded(value, length):
    return np.pad(value.numpy(), ((0, 0), (0, length - value.shape[1])))
