from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.models import FitSettings, train
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.batching import batches_for
from autorec_kernel.testing.model_cases import features_for

TOWERS = ("zoo/dssm", "zoo/facebook-dssm", "zoo/youtube-dnn")
EIGHT = {"embedding_dim": 16, "hidden_units": (8,)}


@pytest.fixture
def recommend(kernel):
    return features_for(kernel, "recommend", further=True)


def placed(network, features):
    from autorec_kernel.models.entities import Entities

    return network.attach(Entities(features))


def users_of(network, features, rows=8):
    tensors = to_tensors(features.row_inputs(network.inputs, features.rows("valid")[:rows]), "cpu")
    with torch.no_grad():
        return network.serve(*(tensors[name] for name in network.inputs))[0]


def batch_of(network, features):
    return next(batches_for(network, features, 32).epoch(np.random.default_rng(0)))


@pytest.mark.parametrize("name", TOWERS)
def test_the_score_is_the_inner_product_of_vectors_of_the_chosen_width(built, recommend, name):
    network = placed(built(name, recommend, embedding_dim=32, hidden_units=(8,)), recommend)
    items = network.item_vectors()
    assert items.shape == (recommend.schema.items, 32)
    assert users_of(network, recommend).shape == (8, 32)
    assert network.serving_outputs == ("user",)


@pytest.mark.parametrize("name", ["zoo/dssm", "zoo/facebook-dssm"])
def test_the_tower_of_the_catalogue_is_the_tower_of_the_rows(built, recommend, name):
    network = placed(built(name, recommend, **EIGHT), recommend)
    with torch.no_grad():
        batch = batch_of(network, recommend)
        chosen = network(batch)["chosen"]
    assert torch.allclose(chosen, network.item_vectors()[batch["@target"]], atol=1e-6)
    assert network.part("items_deep") is network.part("chosen_deep")


@pytest.mark.parametrize("name", TOWERS)
def test_item_vectors_are_stored_ahead_and_serving_reads_no_item_feature(built, recommend, name):
    network = placed(built(name, recommend, **EIGHT), recommend)
    assert not {feature.name for feature in recommend.schema.of("id", "bag", "numeric", depends=["item"])} & set(network.inputs)
    assert "items" in network.tables.names


@pytest.mark.slow
@pytest.mark.parametrize("name", TOWERS)
def test_the_exported_user_tower_answers_as_the_network_does(built, recommend, name):
    network = placed(built(name, recommend, **EIGHT), recommend)
    sample = recommend.row_inputs(network.inputs, recommend.rows("valid")[:9])
    assert parity(network, export_onnx(network, sample), sample) < 1e-5


def test_cosine_towers_have_unit_length_but_for_the_temperature(built, recommend):
    network = placed(built("zoo/dssm", recommend, cosine=True, temperature=0.2, **EIGHT), recommend)
    assert torch.allclose(network.item_vectors().norm(dim=1), torch.ones(recommend.schema.items), atol=1e-5)
    assert torch.allclose(users_of(network, recommend).norm(dim=1), torch.full((8,), 5.0), atol=1e-4)
    assert "normalise" not in {node.block for node in built("zoo/dssm", recommend, cosine=False).architecture.nodes}


def test_dssm_lowers_scores_by_how_often_an_item_is_drawn_into_a_batch(built, recommend):
    network = placed(built("zoo/dssm", recommend, **EIGHT), recommend)
    with torch.no_grad():
        batch = batch_of(network, recommend)
        values = network(batch)
    target = batch["@target"].numpy()
    counts = np.bincount(recommend.interactions.items, minlength=recommend.schema.items)
    scores = values["user"].numpy() @ values["chosen"].numpy().T - np.log(np.maximum(counts, 1) / np.maximum(counts, 1).sum())[target]
    losses = []
    for a in range(len(target)):
        rivals = [scores[a, b] for b in range(len(target)) if b == a or target[b] != target[a]]
        losses.append(np.log(np.exp(rivals).sum()) - scores[a, a])
    assert values["loss"].item() == pytest.approx(np.mean(losses), rel=1e-3)


def test_pairs_compare_with_items_of_the_whole_catalogue(built, recommend):
    network = placed(built("zoo/dssm", recommend, loss="bpr", negatives=4, **EIGHT), recommend)
    with torch.no_grad():
        batch = batch_of(network, recommend)
        values = network(batch)
    assert torch.allclose(values["others"], network.item_vectors()[batch["@negatives"]], atol=1e-6)
    margin = (values["user"] * values["chosen"]).sum(1, keepdim=True) - (values["user"].unsqueeze(1) * values["others"]).sum(2)
    assert values["loss"].item() == pytest.approx(-torch.nn.functional.logsigmoid(margin).mean().item(), rel=1e-5)


def test_facebook_dssm_learns_every_label_beside_recall_and_serves_none(kernel, recommend):
    schema = with_labels(recommend.schema)
    graph = kernel.create("blueprint", "zoo/facebook-dssm").architecture(schema)
    assert [node.config["task"] for node in graph.nodes if node.block == "@labels"] == ["rating", "like", "stars"]
    assert [graph[f"task_{i}"].config["link"] for i in range(3)] == ["logit", "logit", "value"]
    assert {node.block for node in graph.nodes if node.id == "loss"} == {"blocks/in-batch-softmax-loss"}
    assert not {"joint", "task_0"} & {node.id for node in graph.serving()}


def test_tasks_and_their_types_are_as_many_as_asked_for(kernel, recommend):
    schema = with_labels(recommend.schema)

    def tasks(**config):
        graph = kernel.create("blueprint", "zoo/facebook-dssm", **config).architecture(schema)
        return [node.config["link"] for node in graph.nodes if node.block == "blocks/head"]

    assert tasks(num_tasks=0) == []
    assert tasks(num_tasks=2, task_types=("regression", "classification")) == ["value", "logit"]
    with pytest.raises(ContractError, match="num_tasks is 4"):
        tasks(num_tasks=4)
    with pytest.raises(ContractError, match="task_types names 1"):
        tasks(task_types=("regression",))
    with pytest.raises(ContractError, match="needs 0 and 1"):
        tasks(task_types=("classification",) * 3)


def test_facebook_dssm_without_a_label_that_differs_is_dssm_and_says_so(kernel, features_of):
    schema = features_of("recommend").schema
    with pytest.raises(ContractError, match=r"no label besides rating varies; zoo/dssm is the same model") as caught:
        kernel.create("blueprint", "zoo/facebook-dssm").architecture(schema)
    assert "num_tasks=0" in caught.value.hint
    alone = kernel.create("blueprint", "zoo/facebook-dssm", num_tasks=0).architecture(schema)
    assert alone.digest() == kernel.create("blueprint", "zoo/dssm").architecture(schema).digest()


def test_pairwise_facebook_dssm_has_tasks_too(kernel, recommend):
    graph = kernel.create("blueprint", "zoo/facebook-dssm", pairwise=True).architecture(with_labels(recommend.schema))
    assert graph["loss"].block == "blocks/bpr-loss"
    assert graph["joint"].inputs == ("user", "row")


def test_youtube_dnn_reads_the_mean_of_the_newest_items_only(built, recommend):
    network = placed(built("zoo/youtube-dnn", recommend, max_seq_len=2, user_features=("history",), **EIGHT), recommend)
    assert network.lengths == {"history": 2}
    items = network.item_vectors()
    histories = torch.tensor([[3, 5], [4, 0]])
    with torch.no_grad():
        pooled = torch.stack([(items[3] + items[5]) / 2, items[4]])
        expected = network.part("user")(network.part("user_deep")(pooled))
        found = network.serve(histories)[0]
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["items", "user", "target", "loss", "deep"])
@pytest.mark.parametrize("model", TOWERS)
def test_a_history_may_be_called_like_a_part_of_the_model(kernel, recommend, model, name):
    renamed = tuple(replace(one, name=name) if one.kind == "history" else one for one in recommend.schema.features)
    graph = kernel.create("blueprint", model, user_features=(name,)).architecture(replace(recommend.schema, features=renamed))
    assert name in {column for node in graph.nodes if node.block == "@history" for column in node.config["columns"]}


def test_an_item_of_youtube_dnn_is_the_sum_of_its_embeddings(built, recommend):
    network = placed(built("zoo/youtube-dnn", recommend, **EIGHT), recommend)
    columns = network.architecture["item_fields"].config["columns"]
    assert columns[0] == recommend.schema.item or recommend.schema.item in columns
    alone = placed(built("zoo/youtube-dnn", recommend, item_features=(recommend.schema.item,), **EIGHT), recommend)
    store = alone.part("item_fields").store
    assert torch.allclose(alone.item_vectors(), store.table("item"), atol=1e-6)
    with pytest.raises(ContractError, match="categorical"):
        numbers = [feature.name for feature in recommend.schema.of("numeric", depends=["item"])]
        built("zoo/youtube-dnn", recommend, item_features=tuple(numbers[:1]))


def test_heads_of_youtube_dnn_exist_when_their_losses_weigh_something(kernel, recommend):
    assert not [n for n in kernel.create("blueprint", "zoo/youtube-dnn").architecture(recommend.schema).nodes if n.block == "@labels"]
    graph = kernel.create("blueprint", "zoo/youtube-dnn", task_weight=0.5).architecture(with_labels(recommend.schema))
    assert graph["loss_0"].config["weight"] == 0.5


@pytest.mark.parametrize("name", TOWERS)
def test_towers_leave_running_totals_out_unless_they_are_named(kernel, recommend, name):
    read = {
        str(c) for node in kernel.create("blueprint", name).architecture(recommend.schema).nodes for c in node.config.get("columns", ())
    }
    totals = {feature.name for feature in recommend.schema.features if feature.dynamic and feature.kind != "history"}
    assert totals
    assert not read & totals


@pytest.mark.parametrize(("option", "wrong"), [("user_features", "item_id"), ("item_features", "user_id")])
@pytest.mark.parametrize("name", TOWERS)
def test_a_feature_of_the_other_side_is_refused(kernel, recommend, name, option, wrong):
    with pytest.raises(ContractError, match=option):
        kernel.create("blueprint", name, **{option: (wrong,)}).architecture(recommend.schema)


def with_labels(schema):
    tasks = {"rating": "logit", "like": "logit", "stars": "value"}
    return replace(schema, tasks=tasks, label_range={"rating": (0.0, 1.0, 0.4), "like": (0.0, 1.0, 0.3), "stars": (1.0, 5.0, 3.5)})


LISTED = {
    "zoo/dssm": {
        "user_features": (("user_id",), ("user_id", "history")),
        "item_features": (("item_id",), None),
        "hidden_units": ((8,), (8, 8)),
        "dropout_rates": ((), (0.5,)),
        "embedding_dim": (16, 32),
    },
    "zoo/facebook-dssm": {
        "user_features": (("user_id",), ("user_id", "history")),
        "item_features": (("item_id",), None),
        "hidden_units": ((8,), (8, 8)),
        "num_tasks": (0, 1),
        "task_types": (("classification", "regression"), ("regression", "regression")),
    },
    "zoo/youtube-dnn": {
        "user_features": (("history",), ("user_id", "history")),
        "item_features": (("item_id",), None),
        "hidden_units": ((8,), (8, 8)),
        "embedding_dim": (16, 32),
        "max_seq_len": (1, 5),
    },
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, options in LISTED.items() for option in options])
def test_every_listed_option_changes_the_network_or_what_it_learns(kernel, recommend, name, option):
    first, second = (after_ten_steps(kernel, recommend, name, {option: value}) for value in LISTED[name][option])
    assert first[0] != second[0] or not torch.allclose(first[1], second[1], atol=1e-6)


def after_ten_steps(kernel, features, name, config):
    graph = kernel.create("blueprint", name, **{"embedding_dim": 16, "hidden_units": (8,), **config}).architecture(features.schema)
    settings = FitSettings(batch_size=max(8, len(features.positive_rows()) // 10), epochs=1, patience=0)
    network, _ = train(graph, features, features.schema, kernel, settings, seed=0, trial=0)
    return sum(p.numel() for p in network.parameters()), users_of(network, features) @ network.item_vectors().T
