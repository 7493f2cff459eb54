"""Labels beside recall: what FaceBookDSSM and YouTubeDNN learn from is recall plus the weighed error of each label, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.features import build_features
from autorec_kernel.models.batching import batches_for
from autorec_kernel.testing.data import tiny_dataset
from autorec_kernel.testing.model_cases import features_for
from autorec_kernel.testing.network_cases import network_for

SMALL = {"hidden_units": (8,), "embedding_dim": 16, "task_weight": 0.5}
CASES = [("zoo/facebook-dssm", {}), ("zoo/facebook-dssm", {"pairwise": True}), ("zoo/youtube-dnn", {})]


@pytest.fixture
def several(kernel):
    """Return chosen and not chosen rows with three labels: whether it was chosen, another 0/1 label with gaps, and a number."""
    return build_features(tiny_dataset(task="recommend", further=True, positive_threshold=4.0), kernel, task="recommend", history_length=8)


def learned(kernel, features, name, **config):
    network = network_for(kernel.create("blueprint", name, **SMALL, **config), features, kernel).eval()
    return network, next(batches_for(network, features, 32).epoch(np.random.default_rng(0)))


def error_of(values, network, number, labels):
    """Return the mean error of one label: cross-entropy of a chance, or a squared distance."""
    node = network.architecture[f"task_{number}"]
    raw, known = values[f"task_{number}"][:, 0].double().numpy(), ~np.isnan(labels)
    if node.config["link"] == "value":
        return float(((raw - labels)[known] ** 2).mean())
    chance = 1 / (1 + np.exp(-raw[known]))
    return float(-(labels[known] * np.log(chance) + (1 - labels[known]) * np.log(1 - chance)).mean())


@pytest.mark.parametrize(("name", "config"), CASES)
def test_the_loss_is_that_of_recall_plus_the_weighed_error_of_every_label(kernel, several, name, config):
    network, batch = learned(kernel, several, name, **config)
    with torch.no_grad():
        values, found = network(batch), float(network.loss(batch))
    labels = [batch[f"@label:{task}"].double().numpy() for task in several.schema.tasks]
    errors = [error_of(values, network, number, label) for number, label in enumerate(labels)]
    assert len(errors) == 3
    assert found == pytest.approx(float(values["loss"]) + 0.5 * sum(errors), rel=1e-4)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_every_label_shapes_the_vectors_that_are_served(kernel, several, name, config):
    network, batch = learned(kernel, several, name, **config)
    values = network(batch)
    for number in range(3):
        (gradient,) = torch.autograd.grad(values[f"loss_{number}"], values["user"], retain_graph=True)
        assert gradient.any()
    assert network.serving_outputs == ("user",)
    assert not [name for name in network.inputs if name.startswith("@")]


@pytest.mark.parametrize(("name", "config"), CASES)
def test_labels_are_learned_on_rows_that_were_not_chosen_too_and_recall_is_not(kernel, several, name, config):
    network, batch = learned(kernel, several, name, **config)
    chosen = batch["@label:rating"] == 1
    assert 0 < int(chosen.sum()) < len(chosen)
    assert torch.equal(batch["@target"] != 0, chosen)
    values = network(batch)
    (recall,) = torch.autograd.grad(values["loss"], values["user"], retain_graph=True)
    (label,) = torch.autograd.grad(values["loss_0"], values["user"])
    assert torch.allclose(recall[~chosen], torch.zeros(()), atol=1e-8)
    assert recall[chosen].any(1).all()
    assert label.any(1).all()
    fed = torch.cat([part["@target"] for part in batches_for(network, several, 32).epoch(np.random.default_rng(0))])
    assert len(fed) == int((several.item_rows[several.rows("train")] > 0).sum())
    assert int((fed != 0).sum()) == len(several.positive_rows())


@pytest.mark.parametrize(("name", "config"), CASES)
def test_without_rows_that_were_not_chosen_whether_one_was_is_no_label(kernel, name, config):
    features = features_for(kernel, "recommend", further=True)
    graph = kernel.create("blueprint", name, **SMALL, **config).architecture(features.schema)
    assert features.schema.label_range["rating"][:2] == (1.0, 1.0)
    assert [node.config["task"] for node in graph.nodes if node.block == "@labels"] == ["like", "minutes"]
    alone = {"num_tasks": 0} if name == "zoo/facebook-dssm" else {}
    single = kernel.create("blueprint", name, **SMALL, **config, **alone).architecture(features_for(kernel, "recommend").schema)
    assert not [node for node in single.nodes if node.block in ("@labels", "blocks/head")]


def test_who_reads_no_label_is_fed_what_was_chosen_alone(kernel, several):
    network = network_for(kernel.create("blueprint", "zoo/dssm", hidden_units=(8,)), several, kernel)
    fed = torch.cat([part["@target"] for part in batches_for(network, several, 32).epoch(np.random.default_rng(0))])
    assert sorted(fed.tolist()) == sorted(several.item_rows[several.positive_rows()].tolist())
