from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import build_network, infer_specs, make_blocks
from autorec_kernel.models.unsolved import Unsolved
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

pytestmark = pytest.mark.plugins

USER = (Node("field", "@fields", config={"columns": ["user_id"], "width": 4}), Node("user", "blocks/sum-fields", ("field",)))
ITEMS = Node("items", "@table", config={"table": "item", "width": 4})
HISTORY = Node("history", "@history", config={"columns": ["history"], "width": 4})
DEEP = Node("deep", "blocks/mlp", ("field",), {"hidden_dims": [5]})
SCORE = Node("score", "blocks/head", ("deep",), {"tasks": ["rating"]})
RANKER = (USER[0], DEEP, SCORE)


def test_the_same_seed_gives_the_same_weights_and_the_process_keeps_its_own_randomness(network_of):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, third = (network_of(*RANKER, outputs={"rating": "score"}, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.stores["4"].weight, third.stores["4"].weight)


def test_nodes_that_share_are_one_module(network_of, batch):
    twin = Node("twin", "blocks/mlp", ("field",), {"hidden_dims": [5]}, shares="deep")
    network = network_of(
        *RANKER[:2], twin, Node("score", "blocks/head", ("deep", "twin"), {"tasks": ["rating"]}), outputs={"rating": "score"}
    )
    assert network.parts["n_twin"] is network.parts["n_deep"]
    values = network(batch)
    assert torch.equal(values["twin"], values["deep"])


def test_names_that_differ_in_a_dot_are_different_modules(network_of):
    nodes = (
        USER[0],
        Node("a.b", "blocks/mlp", ("field",), {"hidden_dims": [5]}),
        Node("a_b", "blocks/mlp", ("field",), {"hidden_dims": [7]}),
    )
    network = network_of(*nodes, Node("score", "blocks/head", ("a.b", "a_b"), {"tasks": ["rating"]}), outputs={"rating": "score"})
    assert [part[0].out_features for name, part in network.parts.items() if name.startswith("n_a")] == [5, 7]


def test_serving_gives_probabilities_for_logits_and_training_compares_logits(network_of, batch):
    network = network_of(*RANKER, outputs={"rating": "score"}).eval()
    (answers,) = network.serve(batch["user_id"])
    raw = network(batch)["score"][:, 0]
    assert network.inputs == ("user_id",)
    assert network.tasks == network.serving_outputs == ("rating",)
    assert network.training_inputs == ("user_id", "@label:rating")
    assert torch.allclose(answers, torch.sigmoid(raw))
    known = torch.nn.functional.binary_cross_entropy_with_logits(raw[:3], batch["@label:rating"][:3])
    assert torch.allclose(network.loss(batch), known)


def test_a_row_is_answered_alike_alone_and_in_any_batch(network_of, batch):
    network = network_of(*RANKER, outputs={"rating": "score"}).eval()
    (together,) = network.serve(batch["user_id"])
    alone = torch.cat([network.serve(batch["user_id"][i : i + 1])[0] for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-7)


def test_what_only_a_loss_reads_is_no_serving_input(network_of):
    nodes = (
        *USER,
        ITEMS,
        Node("target", "@target", config={"index": True}),
        Node("loss", "blocks/softmax-loss", ("user", "items", "target")),
    )
    network = network_of(*nodes, outputs={"user": "user", "item": "items"})
    assert network.inputs == ("user_id",)
    assert network.training_inputs == ("user_id", "@target")
    assert network.loss_nodes == ("loss",)
    assert network.tasks == ()


def test_item_vectors_need_no_row_and_user_vectors_no_item(network_of, batch):
    network = network_of(*USER, ITEMS, outputs={"user": "user", "item": "items"}).eval()
    assert torch.equal(network.item_vectors(), network.stores["4"].table("item"))
    (users,) = network.serve(batch["user_id"])
    assert torch.equal(users, network.stores["4"].table("user")[batch["user_id"]])


@pytest.mark.parametrize("source", ["@target", "@negatives", "@labels"])
def test_serving_may_not_read_what_only_training_knows(source):
    with pytest.raises(ContractError, match="training-only"):
        Architecture((Node("x", source, config={"width": 4, "task": "rating"}), Node("y", "blocks/sum-fields", ("x",))), {"rating": "y"})


def test_several_losses_add_up(network_of, batch):
    labels = Node("labels", "@labels", config={"task": "rating"})
    loss = Node("loss", "blocks/pointwise-loss", ("score", "labels"))
    half = Node("half", "blocks/pointwise-loss", ("score", "labels"), {"weight": 0.5})
    one = network_of(*RANKER, labels, loss, outputs={"rating": "score"})
    two = network_of(*RANKER, labels, loss, half, outputs={"rating": "score"})
    assert float(two.loss(batch).detach()) == pytest.approx(1.5 * float(one.loss(batch).detach()))
    assert float(one.loss(batch).detach()) == pytest.approx(float(network_of(*RANKER, outputs={"rating": "score"}).loss(batch).detach()))


def test_a_retriever_without_a_loss_cannot_be_trained(network_of, batch):
    with pytest.raises(ContractError, match="needs a loss"):
        network_of(*USER, ITEMS, outputs={"user": "user", "item": "items"}).loss(batch)


def test_an_input_on_another_port_is_adapted(network_of, batch):
    nodes = (HISTORY, Node("deep", "blocks/mlp", ("history",), {"hidden_dims": [5]}), SCORE)
    network = network_of(*nodes, outputs={"rating": "score"})
    steps, mask = network(batch)["history"]
    mean = (steps * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    assert torch.allclose(network(batch)["deep"], network.parts["n_deep"](mean))


class _NoAllocation(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} makes a tensor")


def test_specs_are_inferred_without_a_tensor(kernel, schema):
    for name in ("zoo/deepfm", "zoo/din", "zoo/sasrec", "baselines/ease", "baselines/item-knn"):
        graph = kernel.create("blueprint", name).architecture(schema)
        with _NoAllocation():
            specs = infer_specs(graph, schema, make_blocks(graph, kernel))
        assert set(specs) == {node.id for node in graph.nodes}


@pytest.mark.parametrize(("count", "message"), [(0, "has 0 inputs"), (2, "has 2 inputs")])
def test_the_wrong_number_of_inputs_is_told(network_of, count, message):
    with pytest.raises(ContractError, match=message):
        network_of(USER[0], Node("pairs", "blocks/fm", ("field",) * count), outputs={"rating": "pairs"})


def test_a_solved_block_holds_its_arrays_as_state_that_is_not_trained(network_of):
    table = np.arange(9, dtype=np.float32)[:, None]
    counts = Node("counts", "blocks/item-counts", (), {"rows": 9})
    one = Node("one", "@constant", config={"columns": ["user_id"]})
    network = network_of(one, counts, outputs={"user": "one", "item": "counts"}, counts={"values": table})
    assert network.item_vectors().numpy().tolist() == table.tolist()
    assert network.solved == ("parts.n_counts.",)
    assert not network.trainable


@pytest.mark.parametrize(("neighbours", "stored"), [(False, (27, 108)), (True, (54, 216))])
def test_an_unsolved_table_has_the_right_shape_and_takes_no_memory(neighbours, stored):
    part = Unsolved(TensorSpec("table", rows=9, width=3, neighbours=neighbours))
    assert part.stored == stored
    parts = part() if neighbours else (part(),)
    assert all(value.shape == (9, 3) and value.untyped_storage().nbytes() <= 4 for value in parts)


def test_weights_go_into_the_state_once_and_come_back(network_of, batch):
    network, other = (network_of(*RANKER, outputs={"rating": "score"}, seed=seed).eval() for seed in (1, 2))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.serve(batch["user_id"])[0], network.serve(batch["user_id"])[0])


def test_a_graph_is_built_on_the_schema_it_is_given(kernel, schema):
    graph = Architecture(
        (Node("f", "@fields", config={"columns": ["user_id"], "width": 2}), Node("s", "blocks/head", ("f",))), {"rating": "s"}
    )
    assert sum(p.numel() for p in build_network(graph, schema, kernel).parameters()) == 7 * 2 + 2 + 1
