"""Labels beside recall: what FaceBookDSSM and YouTubeDNN learn from is recall plus the weighed error of each label, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.models.batching import batches_for
from autorec_kernel.testing.model_cases import features_for
from autorec_kernel.testing.network_cases import network_for

SMALL = {"hidden_units": (8,), "embedding_dim": 16, "task_weight": 0.5}
CASES = [("zoo/facebook-dssm", {}), ("zoo/facebook-dssm", {"pairwise": True}), ("zoo/youtube-dnn", {})]


@pytest.fixture
def several(kernel):
    return features_for(kernel, "recommend", further=True)


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
