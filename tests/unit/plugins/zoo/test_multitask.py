from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, predict_tasks, task_metrics, train
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.testing.model_cases import features_for, sample_of

NAMES = ("zoo/shared-bottom", "zoo/mmoe", "zoo/ple")
SMALL: dict[str, dict[str, Any]] = {
    "zoo/shared-bottom": {"hidden_units": (16,), "task_hidden_units": (8,)},
    "zoo/mmoe": {"expert_units": (8,), "num_experts": 3, "tower_units": (8,)},
    "zoo/ple": {"expert_units": (8,), "tower_units": (8,)},
    "zoo/esmm": {"hidden_units": (16,), "tower_units": (8,)},
}
Grads = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    """Labels: rating (0/1), like (0/1, implies rating, gaps), minutes (a number)."""
    found: FeatureSet = features_for(kernel, "click", further=True)
    return found


def _batch(network: Network, features: FeatureSet, count: int = 64) -> dict[str, torch.Tensor]:
    rows = features.rows("train")[:count]
    arrays = features.row_inputs([name for name in network.training_inputs if not name.startswith("@")], rows)
    labels = {f"@label:{task}": features.labels(task)[rows] for task in features.schema.tasks}
    return to_tensors({**arrays, **labels}, "cpu")


def _two(features: FeatureSet) -> FeatureSet:
    """Return the features with the two labels of 0 and 1 alone."""
    tasks = {name: features.schema.tasks[name] for name in ("rating", "like")}
    return replace(features, schema=replace(features.schema, tasks=tasks))


def _task_loss(network: Network, batch: dict[str, torch.Tensor], task: str) -> torch.Tensor:
    """Return the loss of one task alone, written anew."""
    score, label = network(batch)[network.architecture.outputs[task]][:, 0], batch[f"@label:{task}"]
    known = ~torch.isnan(label)
    if task == "minutes":
        return functional.mse_loss(score[known], label[known])
    return functional.binary_cross_entropy_with_logits(score[known], label[known])


def _reached(network: Network, loss: torch.Tensor) -> set[str]:
    """Return the nodes whose parameters the loss has a gradient to."""
    named = [(name, p) for name, p in network.named_parameters() if name.startswith("parts.")]
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    found = {name.split(".")[1] for (name, _), grad in zip(named, grads, strict=True) if grad is not None and bool(grad.any())}
    return {name.removeprefix("n_").replace("__", "_") for name in found}


@pytest.mark.parametrize("name", NAMES)
def test_every_label_is_predicted_the_primary_one_first(name: str, built: Callable[..., Network], features: FeatureSet) -> None:
    network = built(name, features, **SMALL[name])
    assert network.tasks == ("rating", "like", "minutes")
    found = predict_tasks(network, features, features.rows("valid"))
    assert all(values.shape == features.rows("valid").shape for values in found.values())
    assert 0 <= found["like"].min() < found["like"].max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_task_types_choose_the_loss(name: str, built: Callable[..., Network], features: FeatureSet) -> None:
    network = built(name, features, **SMALL[name])
    batch = _batch(network, features)
    expected = sum(_task_loss(network, batch, task) for task in network.tasks)
    assert torch.allclose(network.loss(batch), torch.as_tensor(expected), rtol=1e-5)
    assert torch.isnan(batch["@label:like"]).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_uncertainties_of_the_tasks_weigh_their_losses_and_nothing_is_counted_twice(
    name: str, built: Callable[..., Network], features: FeatureSet
) -> None:
    network = built(name, features, balance="uncertainty", **SMALL[name])
    weigher = network.parts["n_loss"]
    assert network.loss_nodes == ("loss",)
    assert weigher.factors.tolist() == [1.0, 1.0, 0.5]
    with torch.no_grad():
        weigher.log_variances.copy_(torch.tensor([0.5, -0.5, 3.0]))
    batch = _batch(network, features)
    parts = [_task_loss(network, batch, task) for task in network.tasks]
    weights = weigher.factors * torch.exp(-weigher.log_variances)
    expected = sum(w * part for w, part in zip(weights, parts, strict=True)) + 0.5 * weigher.log_variances.sum()
    assert torch.allclose(network.loss(batch), expected, rtol=1e-5)
    assert "loss" in _reached(network, network.loss(batch))


@pytest.mark.parametrize("name", NAMES)
def test_one_label_is_too_few(name: str, kernel: Kernel, features_of: Callable[..., FeatureSet]) -> None:
    with pytest.raises(ContractError, match="several labels are needed, and the data has 1"):
        kernel.create("blueprint", name).architecture(features_of("click").schema)


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("zoo/shared-bottom", {"num_tasks": 2}, "num_tasks is 2, and the data has 3 labels: rating, like, minutes"),
        ("zoo/mmoe", {"num_tasks": 4}, "num_tasks is 4"),
        ("zoo/shared-bottom", {"task_types": ("classification",) * 3}, r"task_types is classification.*minutes \(regression\)"),
        ("zoo/ple", {"task_types": ("regression",)}, "task_types is regression"),
    ],
)
def test_options_that_contradict_the_data_are_refused(
    name: str, config: dict[str, Any], told: str, kernel: Kernel, features: FeatureSet
) -> None:
    with pytest.raises(ContractError, match=told):
        kernel.create("blueprint", name, **config).architecture(features.schema)


def test_options_that_agree_with_the_data_change_nothing(kernel: Kernel, features: FeatureSet) -> None:
    types = ("classification", "classification", "regression")
    for name, config in (("zoo/shared-bottom", {"num_tasks": 3}), ("zoo/mmoe", {"num_tasks": 3}), ("zoo/ple", {})):
        plain, stated = (kernel.create("blueprint", name, **more) for more in ({}, {**config, "task_types": types}))
        assert plain.architecture(features.schema) == stated.architecture(features.schema)


def test_an_unknown_option_is_refused_with_the_nearest_name(kernel: Kernel) -> None:
    with pytest.raises(UsageError, match="num_expert") as caught:
        kernel.create("blueprint", "zoo/mmoe", num_expert=3)
    assert "num_experts" in f"{caught.value} {caught.value.hint}"


def test_the_features_named_are_the_ones_read(kernel: Kernel, features: FeatureSet) -> None:
    for name in (*NAMES, "zoo/esmm"):
        graph = kernel.create("blueprint", name, features=("user_id", "item_id")).architecture(_two(features).schema)
        sources = {node.block: node.config["columns"] for node in graph.serving() if node.is_source}
        assert sources == {"@fields": ["user_id", "item_id"]}


@pytest.mark.parametrize("name", NAMES)
def test_any_of_them_learns_a_conversion_over_the_entire_space(name: str, built: Callable[..., Network], features: FeatureSet) -> None:
    network = built(name, features, entire_space=True, **SMALL[name])
    assert network.tasks == ("rating", "like", "minutes")
    batch = _batch(network, features)
    values = network(batch)
    click, buy = torch.sigmoid(values["score_0"]), torch.sigmoid(values["score_1"])
    assert torch.equal(values["joint_score"], click * buy)
    both = torch.where(batch["@label:rating"] == 0, 0.0, batch["@label:rating"] * batch["@label:like"])
    known = ~torch.isnan(both)
    expected = _task_loss(network, batch, "rating") + _task_loss(network, batch, "minutes")
    expected = expected + functional.binary_cross_entropy(values["joint_score"][known, 0], both[known])
    assert torch.allclose(network.loss(batch), expected, rtol=1e-5)
    assert torch.equal(network.serve(*(batch[key] for key in network.inputs))[1], values["joint_score"][:, 0])


# --- SharedBottom ---------------------------------------------------------------------------------------------------------------


def test_the_shared_network_learns_from_every_task_and_a_tower_from_its_own(built: Callable[..., Network], features: FeatureSet) -> None:
    network = built("zoo/shared-bottom", features, **SMALL["zoo/shared-bottom"])
    batch = _batch(network, features)
    for number, task in enumerate(network.tasks):
        assert _reached(network, _task_loss(network, batch, task)) == {"bottom", f"tower_{number}", f"score_{number}"}


def test_without_tower_layers_the_heads_stand_on_the_shared_network(kernel: Kernel, features: FeatureSet) -> None:
    graph = kernel.create("blueprint", "zoo/shared-bottom", task_hidden_units=()).architecture(features.schema)
    assert [graph[name].inputs for name in graph.outputs.values()] == [("bottom",)] * 3


# --- ESMM -----------------------------------------------------------------------------------------------------------------------


def _esmm(built: Callable[..., Network], features: FeatureSet, **config: Any) -> tuple[Network, dict[str, torch.Tensor]]:
    network = built("zoo/esmm", _two(features), **{**SMALL["zoo/esmm"], **config})
    return network, _batch(network, features)


def test_the_conversion_is_predicted_by_the_exact_product(built: Callable[..., Network], features: FeatureSet) -> None:
    network, batch = _esmm(built, features)
    assert network.tasks == ("rating", "like")
    values = network(batch)
    assert torch.equal(values["ctcvr"], torch.sigmoid(values["ctr"]) * torch.sigmoid(values["cvr"]))
    served = network.serve(*(batch[name] for name in network.inputs))
    assert torch.equal(served[0], torch.sigmoid(values["ctr"][:, 0]))
    assert torch.equal(served[1], values["ctcvr"][:, 0])
    assert bool((served[1] <= served[0]).all())


def test_the_losses_are_of_click_and_of_click_and_conversion_over_all_rows(built: Callable[..., Network], features: FeatureSet) -> None:
    network, batch = _esmm(built, features)
    values = network(batch)
    click, buy = batch["@label:rating"], batch["@label:like"]
    both = torch.where(click == 0, torch.zeros_like(buy), click * buy)
    known = ~torch.isnan(both)
    assert int(known.sum()) > int((~torch.isnan(buy)).sum())  # rows without a click have a joint label although the conversion is unknown
    expected = functional.binary_cross_entropy_with_logits(values["ctr"][:, 0], click)
    expected = expected + functional.binary_cross_entropy(values["ctcvr"][known, 0], both[known])
    assert torch.allclose(network.loss(batch), expected, rtol=1e-5)
    readers = [node.id for node in network.architecture.nodes if "cvr" in node.inputs]
    assert readers == ["ctcvr"]


def test_rows_without_a_click_teach_the_conversion_network_too(built: Callable[..., Network], features: FeatureSet) -> None:
    network, batch = _esmm(built, features)
    unclicked = batch["@label:rating"] == 0
    loss = network.loss({name: value[unclicked] for name, value in batch.items()})
    assert {"ctr_tower", "cvr_tower", "bottom"} <= _reached(network, loss)


@pytest.mark.parametrize(("name", "node"), [("zoo/esmm", "cvr"), ("zoo/shared-bottom", "score_1")])
@pytest.mark.parametrize("unknown", [False, True])
def test_pcvr_starts_at_the_share_of_conversions_among_clicks(
    name: str, node: str, unknown: bool, kernel: Kernel, features: FeatureSet
) -> None:
    """Clicks are 30 % and conversions 40 % of those; the mean of known conversions is 0.12 or 0.4."""
    ranges = {"rating": (0.0, 1.0, 0.3), "like": (0.0, 1.0, 0.4 if unknown else 0.12)}
    schema = replace(_two(features).schema, label_range=ranges, shares={"rating": {"like": 1.0}, "like": {"rating": 0.4}})
    config = {} if name == "zoo/esmm" else {"entire_space": True}
    assert _start(kernel, name, config, schema, node) == pytest.approx(0.4)
    if not unknown:
        assert _start(kernel, name, config, replace(schema, shares=None), node) == pytest.approx(0.4)


def _start(kernel: Kernel, name: str, config: dict[str, Any], schema: FeatureSchema, node: str) -> float:
    offset = kernel.create("blueprint", name, **config).architecture(schema)[node].config["offset"]
    return 1 / (1 + float(np.exp(-offset)))


def test_without_shared_layers_the_two_networks_share_the_embeddings_alone(kernel: Kernel, features: FeatureSet) -> None:
    graph = kernel.create("blueprint", "zoo/esmm", hidden_units=()).architecture(_two(features).schema)
    assert graph["ctr_tower"].inputs == graph["cvr_tower"].inputs == ("flat",)


def _esmm_graph(kernel: Kernel, features: FeatureSet, implies: Any, tasks: tuple[str, ...], **config: Any) -> Architecture:
    schema = replace(features.schema, tasks={name: features.schema.tasks[name] for name in tasks}, implies=implies)
    return kernel.create("blueprint", "zoo/esmm", **config).architecture(schema)  # type: ignore[no-any-return]


@pytest.mark.parametrize("tasks", [("rating", "like"), ("like", "rating")])
def test_the_data_say_which_label_is_the_click(tasks: tuple[str, str], kernel: Kernel, features: FeatureSet) -> None:
    assert features.schema.implies == {"rating": (), "like": ("rating",)}
    graph = _esmm_graph(kernel, features, features.schema.implies, tasks)
    assert graph.outputs == {"rating": "ctr", "like": "ctcvr"}
    assert list(graph.outputs) == list(tasks)


def test_labels_that_do_not_imply_each_other_are_no_click_and_conversion(kernel: Kernel, features: FeatureSet) -> None:
    nothing: dict[str, tuple[str, ...]] = {"rating": (), "like": ()}
    with pytest.raises(ContractError, match="neither of 'rating' and 'like' implies the other"):
        _esmm_graph(kernel, features, nothing, ("rating", "like"))
    named = _esmm_graph(kernel, features, nothing, ("rating", "like"), click="like", conversion="rating")
    assert named.outputs == {"rating": "ctcvr", "like": "ctr"}
    assert _esmm_graph(kernel, features, None, ("rating", "like")).outputs == {"rating": "ctr", "like": "ctcvr"}


@pytest.mark.parametrize(
    ("tasks", "config", "told"),
    [
        (("rating", "minutes"), {"click": "rating", "conversion": "minutes"}, "two labels of 0 and 1"),
        (("minutes", "rating", "like"), {"click": "rating", "conversion": "like"}, "one of them 'minutes'"),
        (("rating", "like"), {"click": "rating", "conversion": "lik"}, "two labels of 0 and 1"),
        (("rating", "like"), {"click": "rating"}, "both named or neither"),
        (("rating",), {}, "a click and a conversion label are needed"),
    ],
)
def test_labels_that_make_no_chain_are_refused(
    tasks: tuple[str, ...], config: dict[str, Any], told: str, kernel: Kernel, features: FeatureSet
) -> None:
    with pytest.raises(ContractError, match=told):
        _esmm_graph(kernel, features, features.schema.implies, tasks, **config)


# --- MMoE -----------------------------------------------------------------------------------------------------------------------


def test_each_task_mixes_the_shared_experts_by_a_gate_of_its_own(built: Callable[..., Network], features: FeatureSet) -> None:
    network = built("zoo/mmoe", features, **SMALL["zoo/mmoe"])
    batch = _batch(network, features)
    values = network(batch)
    flat = torch.cat([values["fields"].flatten(1), values["numbers"]], 1)
    for number in range(3):
        weights = network.parts[f"n_gate__{number}"].weights(flat)
        assert torch.allclose(weights.sum(1), torch.ones(len(flat)))
        mixed = sum(weights[:, expert, None] * values["experts"][:, expert] for expert in range(3))
        assert torch.allclose(values[f"gate_{number}"], torch.as_tensor(mixed), atol=1e-6)
    assert _reached(network, _task_loss(network, batch, "like")) == {"experts", "gate_1", "tower_1", "score_1"}


def test_parameters_grow_by_the_same_amount_with_each_expert(built: Callable[..., Network], features: FeatureSet) -> None:
    counts = [
        sum(p.numel() for p in built("zoo/mmoe", features, **{**SMALL["zoo/mmoe"], "num_experts": count}).parameters())
        for count in (2, 3, 4, 7)
    ]
    step = counts[1] - counts[0]
    assert step > 0
    assert [counts[2] - counts[1], counts[3] - counts[2]] == [step, 3 * step]


@pytest.mark.parametrize(("option", "values"), [("expert_activation", ("relu", "tanh")), ("gate_activation", ("softmax", "sigmoid"))])
def test_activations_of_experts_and_gates_are_honoured(
    option: str, values: tuple[str, str], built: Callable[..., Network], features: FeatureSet
) -> None:
    networks = [built("zoo/mmoe", features, seed=1, **SMALL["zoo/mmoe"], **{option: value}) for value in values]
    first, second = (network(_batch(network, features)) for network in networks)
    node = "experts" if option == "expert_activation" else "gate_0"
    assert torch.equal(first["fields"], second["fields"])
    assert not torch.allclose(first[node], second[node])
    if option == "expert_activation":
        assert bool((first["experts"] >= 0).all())
        assert bool((second["experts"] < 0).any())


# --- PLE ------------------------------------------------------------------------------------------------------------------------


def _own_experts(network: Network, task: str) -> set[str]:
    number = network.tasks.index(task)
    return {node.id for node in network.architecture.nodes if node.block == "blocks/experts" and node.id.endswith(f"_{number}")}


@pytest.mark.parametrize(
    ("config", "isolated"),
    [
        ({"num_layers": 1}, (0,)),
        ({"num_layers": 2}, (1,)),
        ({"num_layers": 3}, (2,)),
        ({"num_layers": 2, "shared_gate": "shared"}, (0, 1)),
        ({"num_layers": 3, "shared_gate": "shared"}, (0, 1, 2)),
    ],
)
def test_own_experts_get_no_gradient_from_another_tasks_loss(
    config: dict[str, Any], isolated: tuple[int, ...], built: Callable[..., Network], features: FeatureSet
) -> None:
    network = built("zoo/ple", features, **SMALL["zoo/ple"], **config)
    batch = _batch(network, features)
    for task in network.tasks:
        reached = _reached(network, _task_loss(network, batch, task))
        assert _own_experts(network, task) <= reached
        foreign = set().union(*(_own_experts(network, other) for other in network.tasks if other != task))
        assert {int(name.split("_")[1]) for name in foreign - reached} == set(isolated)
        assert {int(name.split("_")[1]) for name in foreign & reached}.isdisjoint(isolated)
        assert {f"experts_{layer}_shared" for layer in range(config["num_layers"])} <= reached


def test_each_layer_has_own_and_shared_experts_and_the_last_no_shared_gate(kernel: Kernel, features: FeatureSet) -> None:
    config = {"num_layers": 3, "num_experts": 2, "num_shared_experts": 3}
    graph = kernel.create("blueprint", "zoo/ple", **config).architecture(features.schema)
    counts = {node.id: node.config["count"] for node in graph.nodes if node.block == "blocks/experts"}
    own = {f"experts_{layer}_{task}": 2 for layer in range(3) for task in range(3)}
    assert counts == own | {f"experts_{layer}_shared": 3 for layer in range(3)}
    gates = {node.id: node.inputs for node in graph.nodes if node.block == "blocks/gate"}
    assert set(gates) == {f"state_{layer}_{task}" for layer in range(3) for task in range(3)} | {"state_0_shared", "state_1_shared"}
    assert gates["state_1_0"] == ("state_0_0", "experts_1_0", "experts_1_shared")
    assert gates["state_0_shared"] == ("flat", "experts_0_0", "experts_0_1", "experts_0_2", "experts_0_shared")
    assert graph["experts_1_shared"].inputs == ("state_0_shared",)


def test_a_layer_of_extraction_is_the_formula_of_the_paper(built: Callable[..., Network], features: FeatureSet) -> None:
    network = built("zoo/ple", features, **SMALL["zoo/ple"], num_layers=2)
    values = network(_batch(network, features))
    flat = torch.cat([values["fields"].flatten(1), values["numbers"]], 1)
    together = torch.cat([values["experts_0_1"], values["experts_0_shared"]], 1)
    weights = (flat @ network.parts["n_state__0__1"].logits.weight.T).softmax(1)
    assert torch.allclose(values["state_0_1"], torch.einsum("ae,aeh->ah", weights, together), atol=1e-5)
    whole = torch.cat([values[f"experts_0_{name}"] for name in ("0", "1", "2", "shared")], 1)
    weights = (flat @ network.parts["n_state__0__shared"].logits.weight.T).softmax(1)
    assert torch.allclose(values["state_0_shared"], torch.einsum("ae,aeh->ah", weights, whole), atol=1e-5)


# --- all of them ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "zoo/esmm"])
@pytest.mark.parametrize("balance", ["none", "uncertainty"])
def test_training_lifts_every_task_above_chance(name: str, balance: str, kernel: Kernel, features: FeatureSet) -> None:
    chosen = _two(features) if name == "zoo/esmm" else features
    graph = kernel.create("blueprint", name, balance=balance, **SMALL[name]).architecture(chosen.schema)
    settings = FitSettings(learning_rate=1e-2, batch_size=64, epochs=25, patience=0)
    network, report = train(graph, features, chosen.schema, kernel, settings, seed=0, trial=0)
    assert report.losses[-1] < 0.8 * report.losses[0]
    found = task_metrics(network, features, "train")
    assert min(found["auc:rating"] or 0.0, found["auc:like"] or 0.0) > 0.7
    if "minutes" in network.tasks:
        assert (found["rmse:minutes"] or 99.0) < 0.97 * float(np.std(features.labels("minutes")[features.rows("train")]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "zoo/esmm"])
def test_the_exported_graph_answers_every_task_like_the_network(name: str, built: Callable[..., Network], features: FeatureSet) -> None:
    network = built(name, _two(features) if name == "zoo/esmm" else features, **SMALL[name])
    sample = sample_of(network, features)
    assert parity(network, export_onnx(network, sample), sample) <= 1e-5
