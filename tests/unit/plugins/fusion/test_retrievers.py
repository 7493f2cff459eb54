from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, evaluate_ranking, train
from autorec_kernel.models.batching import batches_for
from autorec_kernel.records.features import FeatureSchema

UNITS = ("convolution", "attention", "gru", "lstm")
HISTORY = torch.tensor([[3, 1, 2, 0], [5, 0, 0, 0], [7, 8, 9, 10]])


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


def standardised(scores):
    items = scores[:, 1:]
    return (scores - items.mean(1, keepdims=True)) / items.std(1, keepdims=True)


@pytest.mark.parametrize("unit", UNITS)
def test_the_score_is_the_models_logit_plus_the_standardised_closed_form(built, features, unit):
    network = built("fusion/learned", features, second=unit, decay=0.7, weight=0.5, temperature=0.25)
    matrix = network.part("first_weights")().numpy().astype(np.float64)
    first = np.zeros((3, features.schema.items))
    for row, history in enumerate(([3, 1, 2], [5], [7, 8, 9, 10])):
        for age, item in enumerate(reversed(history)):
            first[row] += 0.7**age * matrix[item]
    with torch.no_grad():
        (found,) = network.serve(HISTORY)
        users = network.run(network.reach.serving, {network.inputs[0]: HISTORY}, {})["second_user"].numpy()
    table = network.value(network.architecture["second_items"], {}, {}).detach().numpy()
    assert np.allclose(found.numpy(), 0.5 * standardised(first) + users @ table.T / 0.25, atol=1e-3)


def test_logits_without_a_temperature_are_added_as_they_are(kernel, features):
    graph = kernel.create("blueprint", "fusion/learned", loss="gbce", weight=2.0, temperature=0.25).architecture(features.schema)
    assert dict(graph["score"].config) == {"weights": (2.0, 1.0), "standardise": (True, False)}


def test_two_closed_forms_are_both_standardised(built, features):
    network = built("fusion/solved", features, weight=0.7)
    with torch.no_grad():
        values = network.run(network.reach.serving, {network.inputs[0]: HISTORY}, {})
    first, second = values["first"].numpy(), values["second"].numpy()
    assert np.allclose(values["score"].numpy(), 0.7 * standardised(first) + standardised(second), atol=1e-3)


@pytest.mark.parametrize("unit", UNITS)
def test_the_loss_reaches_every_weight_and_no_closed_form(built, features, unit):
    network = built("fusion/learned", features, second=unit).train()
    batch = next(iter(batches_for(network, features, 64).epoch(np.random.default_rng(0))))
    torch.manual_seed(0)
    loss = network.loss(batch)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
    assert not any(name.startswith(network.solved) for name, _ in network.named_parameters())
    network.part("first_weights").values.mul_(100.0)
    torch.manual_seed(0)
    assert torch.equal(network.loss(batch), loss)


@pytest.mark.parametrize("name", ["learned", "solved"])
def test_an_exported_fusion_answers_a_history_without_a_step(built, features, name):
    network = built(f"fusion/{name}", features)
    graph = export_onnx(network, features.state().inputs(network.inputs, users=np.arange(16)))
    assert parity(network, graph, {network.inputs[0]: np.array([[0, 0, 0], [1, 2, 3]])}) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("config", [{"second": unit} for unit in UNITS] + [{"first": "neighbours"}])
def test_a_learned_fusion_is_exported_with_a_free_length(built, features, config):
    network = built("fusion/learned", features, **config)
    graph = export_onnx(network, features.state().inputs(network.inputs, users=np.arange(16)))
    for length in (1, 7):
        assert parity(network, graph, {network.inputs[0]: np.tile(np.arange(1, length + 1), (3, 1))}) < 1e-5, length


@pytest.mark.slow
@pytest.mark.parametrize("second", ["factors", "neighbours", "ease"])
def test_a_solved_fusion_learns_nothing_and_is_exported(built, features, second):
    network = built("fusion/solved", features, second=second)
    assert not network.trainable
    graph = export_onnx(network, features.state().inputs(network.inputs, users=np.arange(16)))
    assert parity(network, graph, {network.inputs[0]: np.tile(np.arange(1, 6), (3, 1))}) < 1e-5


@pytest.mark.parametrize("name", ["learned", "solved"])
def test_more_padding_changes_no_answer(built, features, name):
    network = built(f"fusion/{name}", features)
    longer = torch.cat([HISTORY, torch.zeros(3, 5, dtype=torch.int64)], 1)
    assert torch.allclose(network.serve(HISTORY)[0], network.serve(longer)[0], atol=1e-5)


def test_the_closed_form_is_the_baselines_own_so_that_a_run_solves_it_once(kernel, features):
    def solved(name: str, node: str) -> tuple[str, dict]:
        found = kernel.create("blueprint", name).architecture(features.schema)[node]
        return found.block, dict(found.config)

    assert solved("fusion/learned", "first_weights") == solved("baselines/directed", "weights")
    assert solved("fusion/solved", "first_weights") == solved("baselines/directed", "weights")
    assert solved("fusion/solved", "second_items") == solved("baselines/ials", "items")


def test_without_an_order_the_solved_fusion_reads_bags_and_the_learned_one_refuses(kernel, features):
    bare = replace(features.schema, ordered=False)
    graph = kernel.create("blueprint", "fusion/solved").architecture(bare)
    assert graph["first_weights"].block == "blocks/ease"
    assert graph["first"].config["decay"] == 1.0
    with pytest.raises(ContractError, match="ordered"):
        kernel.create("blueprint", "fusion/learned").architecture(bare)
    with pytest.raises(ContractError, match="ordered"):
        kernel.create("blueprint", "fusion/solved", first="directed").architecture(bare)
    for name in ("learned", "solved"):
        with pytest.raises(ContractError, match="history"):
            kernel.create("blueprint", f"fusion/{name}").architecture(FeatureSchema())


def test_a_large_catalogue_is_solved_on_its_frequent_items(kernel, features):
    large = replace(features.schema, users=30_000, items=25_000)
    for name, first, frequent in (("learned", "auto", 3_000), ("solved", "ease", 12_000)):
        graph = kernel.create("blueprint", f"fusion/{name}", first=first).architecture(large)
        assert graph["first_weights"].config["frequent"] == frequent


def planted() -> pd.DataFrame:
    """Return choices of users who each like one genre, and are each time told by a sign which film of a genre is on.

    What a user chooses follows from both: the genre, which only the history as a whole tells, and the sign, which is the step before. No
    film is chosen twice, so that a genre leaves several open, and a sign one of each genre. All users have seen all signs.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(180):
        genre, films = user % 6, rng.permutation(12)[:8]
        steps = [step for film in films for step in (f"sign {film}", f"film {genre} {film}")]
        seen = [f"sign {film}" for film in rng.permutation(12)]
        rows += [(f"u{user}", step, place) for place, step in enumerate([*seen, *steps, "sign 0"])]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "position"])


def test_a_fusion_finds_what_neither_part_can_tell() -> None:
    kernel = Kernel.discover()
    features = build_features(open_dataset(planted(), protocol="leave-one-out"), kernel)
    options = {"first": "ease", "decay": 0.98, "regularisation": 5.0, "layers": 1, "kernel": 1, "width": 32, "dropout": 0.0}
    settings = FitSettings(epochs=15, batch_size=64, learning_rate=0.01, weight_decay=0.0)

    def hits(**more: float) -> float:
        graph = kernel.create("blueprint", "fusion/learned", **options, **more).architecture(features.schema)
        network, _ = train(graph, features, features.schema, kernel, settings, seed=0, trial=0)
        return evaluate_ranking(network, features, features.evaluation("valid"), ("hr@1",)).mean()["hr@1"]

    first, second, both = hits(weight=1e6), hits(weight=1e-6), hits(weight=2.0)
    assert max(first, second) < 0.4
    assert both > 0.9


def test_popularity_orders_what_the_closed_form_says_nothing_of(built, features, kernel):
    network = built("fusion/popular", features, first="neighbours")
    graph = export_onnx(network, features.state().inputs(network.inputs, users=np.arange(16)))
    empty = dict(zip(network.inputs, (np.array([[0, 0]]), np.array([3])), strict=True))
    assert [features.schema[name].kind for name in network.inputs] == ["history", "id"]
    assert parity(network, graph, empty) < 1e-5
    scores = network.serve(*(torch.from_numpy(value) for value in empty.values()))[0][0]
    counts = built("baselines/recent-popularity", features).item_vectors()[:, 0]
    assert torch.equal(scores[1:].argsort(stable=True), counts[1:].argsort(stable=True)) and len(scores.unique()) > 5
    other = network.serve(torch.tensor([[1, 2]]), torch.tensor([3]))[0][0]
    assert not torch.equal(other[1:].argsort(stable=True), scores[1:].argsort(stable=True))


def test_without_an_order_popularity_counts_all_events_alike(kernel, features):
    nodes = kernel.create("blueprint", "fusion/popular").architecture(replace(features.schema, ordered=False))
    assert nodes["second_items"].config == {"rows": features.schema.items}
    with pytest.raises(ContractError, match="user column"):
        kernel.create("blueprint", "fusion/popular").architecture(replace(features.schema, user=""))
