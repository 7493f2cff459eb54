"""Where the models drop units in training: every place that should, at the rate that is asked for, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autorec_kernel.kernel import Kernel
from autorec_kernel.models import build_network
from autorec_kernel.testing.model_cases import schemas
from autorec_kernel.testing.network_cases import batches, network_for

RATE = 0.37
ONE, LIST = {"dropout_rate": RATE}, {"dropout_rates": (RATE,)}
DEEP = {**LIST, "hidden_units": (8, 8)}
TASKS = {"dropout": RATE, "expert_units": (8, 8), "tower_units": (8,)}
TOWERS = {"tower_0": 1, "tower_1": 1, "tower_2": 1}
PLACES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {  # blueprint -> options, node -> how often a pass drops there
    "din": (DEEP, {"deep": 2}),
    "dien": (DEEP, {"deep": 2}),
    "bst": ({**ONE, "num_layers": 2, "hidden_units": (8, 8)}, {"placed": 1, "states": 6, "deep": 2}),
    "sasrec": ({**ONE, "num_layers": 2}, {"placed": 1, "states": 6}),
    "transformer": ({**ONE, "num_layers": 2}, {"dropped": 1, "states": 6}),
    "narm": (ONE, {"states": 1, "both": 1}),
    "gru4rec": ({**ONE, "num_layers": 2}, {"states1": 1, "states2": 1}),
    "mmoe": (TASKS, {"experts": 2, **TOWERS}),
    "ple": (
        {**TASKS, "num_layers": 2},
        {**{f"experts_{layer}_{task}": 2 for layer in (0, 1) for task in (0, 1, 2, "shared")}, **TOWERS},
    ),
    "shared-bottom": ({"dropout": RATE, "hidden_units": (8, 8), "task_hidden_units": (8,)}, {"bottom": 2, **TOWERS}),
    "esmm": ({"dropout": RATE, "hidden_units": (8,), "tower_units": (8, 8)}, {"bottom": 1, "ctr_tower": 2, "cvr_tower": 2}),
    "afm": ({**ONE, "attention_units": (8, 8)}, {"pooled": 2}),
    "deepfm": (DEEP, {"deep": 2}),
    "widedeep": (DEEP, {"deep": 2}),
    "dssm": (DEEP, {"user_deep": 2, "items_deep": 2}),
    "youtube-dnn": (DEEP, {"user_deep": 2}),
}


@pytest.mark.parametrize("name", PLACES)
def test_units_are_dropped_in_each_place_at_the_rate_asked_for_and_in_training_only(
    name: str, kernel: Kernel, suits: Callable[[Any], Any]
) -> None:
    options, expected = PLACES[name]
    blueprint = kernel.create("blueprint", f"zoo/{name}", **options)
    network = network_for(blueprint, suits(blueprint), kernel)
    batch = batches(network, suits(blueprint), 64, 1)[0]
    met: Counter[str] = Counter()

    def note(node: str, given: torch.Tensor, left: torch.Tensor) -> None:
        alive = given != 0
        share = (left[alive] == 0).float().mean().item()
        assert share == pytest.approx(RATE, abs=0.2) if network.training else share == 0
        assert torch.allclose(left[left != 0], (given / (1 - RATE))[left != 0]) or not network.training
        met[node] += 1

    for path, module in network.named_modules():
        if type(module).__name__ == "Dropout" and module.rate:
            node = path.split(".")[1].removeprefix("n_").replace("__", "_")
            module.register_forward_hook(lambda _, given, left, node=node: note(node, given[0].detach(), left.detach()))
    with torch.no_grad():
        network(batch)
        passes = 2 if name == "dssm" else 1  # the item tower reads chosen items, and the drawn ones or the catalogue
        assert set(met) == set(expected)
        assert all(expected[node] <= count <= passes * expected[node] for node, count in met.items())
        network.eval()(batch)


def test_a_list_of_rates_repeats_its_last_one(kernel: Kernel) -> None:
    known = schemas()["click, everything"]
    for name in ("deepfm", "din"):
        options = {"hidden_units": (8, 8, 8), "dropout_rates": (0.1, RATE)}
        graph = kernel.create("blueprint", f"zoo/{name}", **options).architecture(known)
        layers = build_network(graph, known, kernel).part("deep")
        assert [layer.rate for layer in layers if type(layer).__name__ == "Dropout"] == [0.1, RATE, RATE]


def test_dropout_of_afm_leaves_the_pooled_pairs_whole(kernel: Kernel) -> None:
    known = schemas()["click, ids only"]
    graph = kernel.create("blueprint", "zoo/afm", dropout_rate=RATE, attention_units=(8,)).architecture(known)
    pool = build_network(graph, known, kernel).train().part("pooled")
    pair = torch.arange(1.0, 17.0).expand(64, 5, 16)
    assert torch.allclose(pool(pair), pair[:, 0]), "weights sum to one, so equal pairs give that pair"


@pytest.mark.parametrize("name", ["multvae", "multdae"])
def test_the_bag_of_an_autoencoder_hides_a_share_of_the_history_while_training(name: str, kernel: Kernel) -> None:
    known = schemas()["recommend, unordered history"]
    options = {"hidden_dim": 31, "latent_dim": 16, "dropout": RATE}
    network = build_network(kernel.create("blueprint", f"zoo/{name}", **options).architecture(known), known, kernel)
    with torch.no_grad():
        network.stores["31"].table("item#encoder").copy_(torch.eye(31))
    history = torch.arange(1, 21).repeat(100, 1)
    torch.manual_seed(0)
    bags = network({"history": history, "@target": history})["bag"].detach().numpy() * np.sqrt(20)
    assert (bags[:, 1:21] != 0).mean() == pytest.approx(1 - RATE, abs=0.05)
    assert bags[bags != 0] == pytest.approx(1 / (1 - RATE), abs=1e-4)
    whole = network.eval()({"history": history, "@target": history})["bag"].detach().numpy() * np.sqrt(20)
    assert whole[:, 1:21] == pytest.approx(1.0, abs=1e-4)
