from __future__ import annotations

import resource
from dataclasses import replace

import numpy as np
import pytest

from autorec_kernel.models import DeviceProfile, build_network, estimate_cost, solve_blocks, solving_seconds
from autorec_kernel.records.architecture import Architecture, Node

pytestmark = pytest.mark.plugins

PROFILE = DeviceProfile()


def cost_of(kernel, schema, name, epochs=10, **config):
    graph = kernel.create("blueprint", name, **config).architecture(schema)
    return estimate_cost(graph, schema, kernel, PROFILE, batch_size=64, epochs=epochs)


def test_parameters_are_counted_one_by_one(kernel, schema):
    found = cost_of(kernel, schema, "zoo/mf", embedding_dim=8)
    assert found.parameters == (7 + 9) * 8
    assert found.bytes == 4 * found.parameters
    fields, numbers, flat = (7 + 9 + 4 + 5) * (4 + 1), 2 * (4 + 1), (4 + 1) * 4  # `price` holds two numbers and is one field
    network = 16 * (flat + 1) + 16
    assert cost_of(kernel, schema, "zoo/deepfm", embedding_dim=4, hidden_units=[16]).parameters == fields + numbers + network + 1


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("recommend", "baselines/ease"),
        ("recommend", "baselines/item-knn"),
        ("recommend", "baselines/popularity"),
        ("recommend", "zoo/sasrec"),
        ("recommend", "zoo/mf"),
        ("rate", "baselines/bias"),
        ("rate", "zoo/din"),
    ],
)
def test_the_bytes_foretold_are_the_bytes_stored(kernel, features_of, task, name):
    features = features_of(task)
    graph = kernel.create("blueprint", name).architecture(features.schema)
    foretold = estimate_cost(graph, features.schema, kernel, PROFILE, batch_size=64, epochs=1)
    network = build_network(graph, features.schema, kernel, solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0)))
    tensors = list(network.state_dict().values())
    assert foretold.bytes == sum(value.numel() * value.element_size() for value in tensors)
    assert foretold.parameters == sum(value.numel() for value in tensors)


def test_a_large_closed_form_is_priced_without_being_allocated(kernel, schema):
    large = replace(
        schema,
        users=200_000,
        items=200_000,
        events=5_000_000,
        features=tuple(replace(f, size=200_000) if f.vocabulary == "item" else f for f in schema.features),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = cost_of(kernel, large, "baselines/ease")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert 40e6 < found.bytes <= 48e6
    assert found.train_seconds > 10


def test_training_time_follows_epochs_and_rows_and_closed_forms_take_none(kernel, schema):
    one, ten = (cost_of(kernel, schema, "zoo/deepfm", epochs).train_seconds for epochs in (1, 10))
    assert ten == pytest.approx(10 * one, rel=0.2)
    assert cost_of(kernel, replace(schema, events=40_000), "zoo/deepfm").train_seconds > 100 * ten
    graph = kernel.create("blueprint", "baselines/ease").architecture(schema)
    assert estimate_cost(graph, schema, kernel, PROFILE, batch_size=64, epochs=50).train_seconds == pytest.approx(
        solving_seconds(graph, schema, kernel), abs=1e-3
    )
    assert solving_seconds(kernel.create("blueprint", "zoo/mf").architecture(schema), schema, kernel) == 0.0


def test_latency_grows_with_the_network_and_with_the_catalogue(kernel, schema):
    small, large = (cost_of(kernel, schema, "zoo/deepfm", hidden_units=dims).latency_ms for dims in ([16], [512, 512, 512]))
    assert PROFILE.floor_us / 1e3 < small < large
    wide = replace(
        schema, items=2_000_000, features=tuple(replace(f, size=2_000_000) if f.vocabulary == "item" else f for f in schema.features)
    )
    few, many = (cost_of(kernel, each, "zoo/mf", embedding_dim=8).latency_ms for each in (schema, wide))
    assert many - few == pytest.approx(2 * 8 * (2_000_000 - 9) / (PROFILE.gflops * 1e6), rel=1e-3)


def test_reading_neighbours_costs_latency(kernel, schema):
    wide = replace(schema, items=500, features=tuple(replace(f, size=500) if f.vocabulary == "item" else f for f in schema.features))
    few, many = (cost_of(kernel, wide, "baselines/item-knn", neighbours=count).latency_ms for count in (20, 400))
    assert many > 2 * few


def test_attention_counts_among_the_operations(kernel, schema):
    nodes = (
        Node("history", "@history", config={"columns": ["history"], "width": 8, "length": 100}),
        Node("states", "blocks/encoder", ("history",), {"layers": 1}),
        Node("user", "blocks/pool", ("states",)),
        Node("items", "@table", config={"table": "item", "width": 8}),
    )
    graph = Architecture(nodes, {"user": "user", "item": "items"})
    blocks = sum(1 for _ in graph.serving())
    found = estimate_cost(graph, schema, kernel, PROFILE, batch_size=64, epochs=0).latency_ms
    flops = 2 * 100 * 8 * (3 * 8 + 8 + 8 + 8) + 2 * 2 * 100 * 100 * 8 + 2 * 9 * 8
    assert found == pytest.approx((PROFILE.floor_us + 6 * blocks * PROFILE.node_us + flops / (PROFILE.gflops * 1e3)) / 1e3, abs=1e-6)


def test_a_profile_is_plain_data():
    assert DeviceProfile(**PROFILE.to_json()) == PROFILE
