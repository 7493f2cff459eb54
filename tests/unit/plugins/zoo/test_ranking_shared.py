"""What every ranker over the features of a row promises: its options act, it learns, it answers alike everywhere, it exports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import AutoRecError, ContractError
from autorec_kernel.models import build_network, predict_rows
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.features import FeatureSchema

LISTED = {
    "widedeep": {"wide_features": ("user_id",), "deep_features": ("item_id",), "hidden_units": (8,), "dropout_rates": (0.5,)},
    "deepfm": {"features": ("user_id", "item_id"), "hidden_units": (8,), "dropout_rates": (0.5,), "embedding_dim": 4},
    "dcn": {"features": ("user_id", "item_id"), "cross_num": 1, "hidden_units": (8,)},
    "dcnv2": {"features": ("user_id", "item_id"), "cross_num": 1, "hidden_units": (8,), "cross_parameterization": "vector"},
    "afm": {"features": ("user_id", "item_id"), "attention_units": (4, 4), "embedding_dim": 4, "dropout_rate": 0.5},
    "fibinet": {"features": ("user_id", "item_id"), "bilinear_type": "field_all", "hidden_units": (8,), "reduction_ratio": 1},
    "edcn": {"features": ("user_id", "item_id"), "cross_num": 2, "hidden_units": (8,), "gate_type": "BGU"},
    "lr": {"features": ("user_id", "item_id")},
    "fm": {"features": ("user_id", "item_id"), "embedding_dim": 4},
    "autoint": {"features": ("user_id", "item_id"), "num_layers": 1, "num_heads": 1, "head_dim": 4, "hidden_units": ()},
    "xdeepfm": {"features": ("user_id", "item_id"), "cin_units": (8,), "hidden_units": (8,), "dropout_rates": (0.5,)},
    "finalmlp": {"first_context": (), "second_context": (), "hidden_units": (8,), "second_units": (8,), "gate_units": (), "num_heads": 1},
}
RANKERS = tuple(LISTED)


def batch_of(network, features, rows):
    batch = to_tensors(features.row_inputs([n for n in network.training_inputs if not n.startswith("@")], rows), "cpu")
    return batch | {"@label:rating": torch.from_numpy(features.labels("rating")[rows]).float()}


def trained(network, batch, steps, rate=0.01):
    """Return the losses of some steps on one batch."""
    optimizer, losses = torch.optim.Adam(network.train().parameters(), lr=rate), []
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = network.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def facts(network, features):
    """Return what tells two networks apart: their parameter count, and their loss after ten steps."""
    count = sum(parameter.numel() for parameter in network.parameters())
    return count, trained(network, batch_of(network, features, features.rows("train")[:64]), 10)[-1]


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, listed in LISTED.items() for option in listed])
def test_every_listed_parameter_changes_the_network(kernel, built, features_of, name, option):
    features = features_of("click")
    graph = kernel.create("blueprint", f"zoo/{name}", **{option: LISTED[name][option]}).architecture(features.schema)
    changed = build_network(graph, features.schema, kernel, seed=0)
    assert facts(changed, features) != facts(built(f"zoo/{name}", features), features)


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_learns_64_rows_by_heart(built, features_of, name):
    features = features_of("click")
    network = built(f"zoo/{name}", features)
    batch = batch_of(network, features, features.rows("train")[:64])
    losses = trained(network, batch, *((150, 0.03) if name in ("lr", "fm", "afm") else (60, 0.003)))
    assert losses[-1] < 0.5 * losses[0]
    (score,) = network.eval().serve(*(batch[n] for n in network.inputs))
    assert ((score > 0.5) == (batch["@label:rating"] > 0.5)).float().mean() > 0.95


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in RANKERS for task in ("rate", "click")])
def test_a_ranker_answers_a_row_alike_alone_and_in_any_batch(built, features_of, name, task):
    features = features_of(task)
    network = built(f"zoo/{name}", features)
    rows = features.rows("valid")[:9]
    together = predict_rows(network, features, rows, "rating")
    alone = np.concatenate([predict_rows(network, features, rows[i : i + 1], "rating") for i in range(9)])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.unique(together).size > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", RANKERS)
def test_the_exported_graph_answers_as_the_ranker_does(built, features_of, name):
    features = features_of("click")
    network = built(f"zoo/{name}", features)
    trained(network, batch_of(network, features, features.rows("train")[:64]), 5)
    sample = features.row_inputs(network.inputs, features.rows("valid")[:17])
    assert parity(network.eval(), export_onnx(network, sample), sample) < 1e-5


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_that_is_saved_answers_as_before(built, features_of, name):
    features = features_of("click")
    network, other = built(f"zoo/{name}", features), built(f"zoo/{name}", features, seed=1)
    rows = features.rows("valid")[:9]
    assert (
        not np.array_equal(predict_rows(network, features, rows, "rating"), predict_rows(other, features, rows, "rating")) or name == "lr"
    )
    other.load_state_dict(network.state_dict())
    assert np.array_equal(predict_rows(network, features, rows, "rating"), predict_rows(other, features, rows, "rating"))


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_refuses_data_without_features_or_labels(kernel, features_of, name):
    schema = features_of("click").schema
    for poor in (FeatureSchema(), replace(schema, tasks={}), replace(schema, features=())):
        with pytest.raises(ContractError, match=r"label|feature"):
            kernel.create("blueprint", f"zoo/{name}").architecture(poor)


@pytest.mark.parametrize("name", [name for name in RANKERS if "features" in LISTED[name]])
def test_a_feature_list_is_obeyed_and_its_mistakes_are_named(kernel, features_of, name):
    schema = features_of("click").schema
    graph = kernel.create("blueprint", f"zoo/{name}", features=("item_id", "user_id")).architecture(schema)
    read = {column for node in graph.nodes for column in node.config.get("columns", ())}
    assert read == {"item_id", "user_id"}
    with pytest.raises(AutoRecError, match="itemid"):
        kernel.create("blueprint", f"zoo/{name}", features=("itemid", "user_id")).architecture(schema)
    history = schema.of("history")[0].name
    with pytest.raises(ContractError, match=history):
        kernel.create("blueprint", f"zoo/{name}", features=("item_id", history)).architecture(schema)


@pytest.mark.parametrize("name", RANKERS)
def test_numbers_and_bags_take_part(kernel, features_of, name):
    schema = features_of("click").schema
    graph = kernel.create("blueprint", f"zoo/{name}").architecture(schema)
    read = {column for node in graph.nodes for column in node.config.get("columns", ())}
    assert {feature.name for feature in schema.of("id", "bag", "numeric")} <= read


@pytest.mark.parametrize("name", RANKERS)
def test_no_ranker_is_one_block_in_a_wrapper(kernel, features_of, name):
    graph = kernel.create("blueprint", f"zoo/{name}").architecture(features_of("click").schema)
    blocks = [node.block for node in graph.nodes if not node.is_source]
    assert len(set(blocks)) >= 3


def test_a_wrong_option_is_refused_with_the_nearest_name(kernel):
    with pytest.raises(AutoRecError, match="hidden_units"):
        kernel.create("blueprint", "zoo/widedeep", hidden_unit=(8,))
    for name, option in (("dcnv2", "cross_parameterization"), ("fibinet", "bilinear_type"), ("edcn", "gate_type")):
        with pytest.raises(AutoRecError, match=option):
            kernel.create("blueprint", f"zoo/{name}", **{option: "other"})
