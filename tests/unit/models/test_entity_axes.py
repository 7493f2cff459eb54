from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import BlankEntities, Entities, build_network, estimate_cost, solve_blocks
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.cost import DeviceProfile
from autorec_kernel.records.architecture import Architecture, Node

pytestmark = pytest.mark.plugins


def towers(features, *, width=4):
    """User id against a tower over the item's id and genres; trained on the row's own item, served from a table."""
    schema = features.schema
    columns = [feature.name for feature in schema.features if feature.depends == "item" and feature.kind in ("id", "bag")]
    tower = {"width": width}
    nodes = (
        Node("user", "@fields", config={"columns": [schema.user], "width": width}),
        Node("all_items", "@fields", config={"columns": columns, "width": width, "axis": "item"}),
        Node("items", "blocks/linear", ("all_items",), tower),
        Node("own", "@fields", config={"columns": columns, "width": width}),
        Node("chosen", "blocks/linear", ("own",), tower, shares="items"),
        Node("drawn", "@negatives", config={"table": "item", "width": width, "count": 2}),
        Node("loss", "blocks/bpr-loss", ("user", "chosen", "drawn")),
    )
    return Architecture(nodes, {"user": "user", "item": "items"}, "row"), columns


@pytest.fixture
def two_towers(kernel, features_of):
    features = features_of("recommend")
    graph, columns = towers(features)
    return build_network(graph, features.schema, kernel, seed=1), features, columns


def test_a_tower_on_the_item_axis_gives_each_item_what_the_row_tower_gives_it(two_towers):
    network, features, columns = two_towers
    vectors = network.attach(Entities(features)).eval().item_vectors()
    assert vectors.shape == (features.schema.items, 4)
    rows = np.flatnonzero(features.item_rows > 0)[:20]
    inputs = {name: torch.from_numpy(np.asarray(value)) for name, value in features.row_inputs(columns, rows).items()}
    values = network.run([network.architecture["own"], network.architecture["chosen"]], inputs, {})
    assert torch.allclose(values["chosen"], vectors[features.item_rows[rows]], atol=1e-6)


def test_serving_reads_the_user_alone_and_training_no_whole_catalogue(two_towers):
    network, features, columns = two_towers
    assert network.inputs == (features.schema.user,)
    assert set(network.training_inputs) == {features.schema.user, *columns, "@negatives"}
    batch = next(iter(batches_for(network, features, 32).epoch(np.random.default_rng(0))))
    assert "items" not in network.forward(batch)


def test_the_table_of_items_follows_the_weights(two_towers):
    network, features, _ = two_towers
    before = network.attach(Entities(features)).eval().item_vectors().clone()
    assert network.item_vectors() is network.item_vectors()
    with torch.no_grad():
        network.part("items").weight.mul_(2.0)
    assert not torch.allclose(network.item_vectors(), before)
    assert not any(name.startswith("stored") for name in network.state_dict())


def test_without_data_an_item_tower_says_what_it_needs(two_towers):
    with pytest.raises(ContractError, match="attach"):
        two_towers[0].eval().item_vectors()


def test_users_are_served_without_what_items_are_made_of(two_towers):
    network, features, _ = two_towers
    answers = network.eval().serve(torch.tensor([1, 2]))[0]
    served = network.attach(Entities(features)).serve(torch.tensor([1, 2]))[0]
    assert torch.equal(answers, served)
    assert len(answers) == 2


def test_costs_count_the_user_side_alone(kernel, two_towers):
    _, features, _ = two_towers
    graph, _ = towers(features)
    cost = estimate_cost(graph, features.schema, kernel, DeviceProfile(), batch_size=32, epochs=1)
    assert cost.latency_ms < 0.1
    network = build_network(graph, features.schema, kernel).attach(BlankEntities(features.schema))
    assert network.item_vectors().shape == (features.schema.items, 4)


def test_an_entity_column_must_belong_to_the_entity(kernel, features_of):
    features = features_of("recommend")
    node = Node("bad", "@fields", config={"columns": [features.schema.user], "width": 4, "axis": "item"})
    items = Node("items", "blocks/linear", ("bad",), {"width": 4})
    user = Node("user", "@fields", config={"columns": [features.schema.user], "width": 4})
    with pytest.raises(ContractError, match="depend on more than the item"):
        build_network(Architecture((node, items, user), {"user": "user", "item": "items"}), features.schema, kernel)


def test_values_that_count_different_things_do_not_join(kernel, features_of):
    features = features_of("recommend")
    user = Node("user", "@fields", config={"columns": [features.schema.user], "width": 4})
    items = Node("items", "@fields", config={"columns": [features.schema.item], "width": 4, "axis": "item"})
    both = Node("both", "blocks/concat", ("user", "items"))
    with pytest.raises(ContractError, match="count different things: item, row"):
        build_network(Architecture((user, items, both), {"score": "both"}), features.schema, kernel)


@pytest.mark.parametrize(("of", "other"), [("item", "users"), ("user", "items")])
def test_interactions_are_the_ratings_of_the_training_part(kernel, features_of, of, other):
    features = features_of("rate")
    events = features.interactions
    expected = np.zeros((features.schema.users, features.schema.items), np.float32)
    for user in range(events.users):
        for at in range(events.offsets[user], events.offsets[user + 1]):
            expected[user, events.items[at]] = events.values[at]
    expected = expected.T if of == "item" else expected
    found = Entities(features).inputs([f"@{of}:@interactions"], np.arange(len(expected)))[f"@{of}:@interactions"]
    assert found.shape[1] == getattr(features.schema, other)
    assert np.array_equal(found, expected)


def autoencoder(features):
    schema = features.schema
    label = next(iter(schema.tasks))
    nodes = (
        Node("ratings", "@interactions", config={"of": "item"}),
        Node("hidden", "blocks/linear", ("ratings",), {"width": 3}),
        Node("entity", "@fields", config={"columns": [schema.item], "index": True}),
        Node("state", "blocks/lookup", ("hidden", "entity")),
        Node("side", "@fields", config={"columns": [schema.user], "width": 3}),
        Node("all", "blocks/concat", ("state", "side")),
        Node("score", "blocks/head", ("all",), {"tasks": [label], "link": "value"}),
    )
    return Architecture(nodes, {label: "score"}, "row")


def test_a_state_of_an_entity_is_a_table_that_rows_look_up(kernel, features_of):
    features = features_of("rate")
    network = build_network(autoencoder(features), features.schema, kernel, seed=2).attach(Entities(features)).eval()
    assert network.inputs == (features.schema.item, features.schema.user)
    ratings = Entities(features).inputs(["@item:@interactions"], np.arange(features.schema.items))["@item:@interactions"]
    whole = network.part("hidden")(torch.from_numpy(ratings))
    assert torch.allclose(network.store()._stored("hidden"), whole, atol=1e-5)
    first = next(iter(batches_for(network.train(), features, 16).epoch(np.random.default_rng(0))))
    network.loss(first).backward()
    assert network.part("hidden").weight.grad.abs().sum() > 0
    assert not any(name.startswith("@item") for name in first)


@pytest.mark.parametrize("axis", ["user", "item"])
def test_batches_of_entities_hold_each_entity_with_events_once(kernel, features_of, axis):
    features = features_of("rate")
    nodes = (
        Node("ratings", "@interactions", config={"of": axis}),
        Node("rebuilt", "blocks/linear", ("ratings",), {"width": features.schema.users if axis == "item" else features.schema.items}),
        Node("loss", "blocks/masked-mse-loss", ("rebuilt", "ratings")),
        Node("ids", "@fields", config={"columns": [features.schema.user], "width": 2}),
        Node("score", "blocks/head", ("ids",), {"tasks": list(features.schema.tasks), "link": "value"}),
    )
    graph = Architecture(nodes, {next(iter(features.schema.tasks)): "score"}, axis)
    network = build_network(graph, features.schema, kernel)
    name = f"@{axis}:@interactions"
    assert network.training_inputs == (name,)
    batches = batches_for(network, features, 8)
    found = [batch[name] for batch in batches.epoch(np.random.default_rng(0))]
    assert len(found) == len(batches)
    full = Entities(features).inputs([name], batches.rows)[name]
    assert sorted(map(tuple, torch.cat(found).tolist())) == sorted(map(tuple, full.tolist()))
    assert (np.abs(full).sum(1) > 0).all()
    assert torch.isfinite(network.loss({name: found[0]}))


@pytest.fixture
def dropping(kernel, features_of):
    """Half of what the tower of items reads is dropped in training."""
    features = features_of("recommend")
    graph, _ = towers(features)
    nodes = [Node("items_wide", "blocks/linear", ("all_items",), {"width": 8}) if node.id == "items" else node for node in graph.nodes]
    nodes = [Node("chosen", "blocks/linear", ("own",), {"width": 4}) if node.id == "chosen" else node for node in nodes]
    at = [node.id for node in nodes].index("items_wide") + 1
    nodes[at:at] = [Node("items", "blocks/mlp", ("items_wide",), {"hidden_dims": (4,), "dropout": 0.5})]
    return build_network(Architecture(tuple(nodes), graph.outputs, "row"), features.schema, kernel, seed=1).attach(Entities(features))


def test_what_is_stored_in_training_mode_is_what_serving_computes(dropping):
    part = dropping.train().part("items")
    early = dropping.item_vectors().clone()
    assert dropping.training and part.training, "storing leaves the mode as it was"
    served = dropping.eval().item_vectors().clone()
    dropping.tables.forget()
    assert torch.equal(early, served)
    assert torch.equal(served, dropping.item_vectors())


def test_a_change_of_mode_has_the_tables_computed_again(dropping):
    dropping.train().item_vectors()
    stored = dropping.tables.names
    assert stored
    assert not dropping.tables.stale(dropping, stored)
    assert dropping.eval().tables.stale(dropping, stored) == list(stored)
    dropping.item_vectors()
    assert not dropping.eval().tables.stale(dropping, stored), "no change, no work"


def test_the_table_of_items_follows_buffers_and_replaced_weights(kernel, features_of):
    features = features_of("recommend")
    network = network_of_lightgcn(kernel, features).eval()
    before = network.item_vectors().clone()
    with torch.no_grad():
        network.part("smooth").weights.mul_(0)
    assert not torch.allclose(network.item_vectors(), before)
    before = network.item_vectors().clone()
    for parameter in network.parameters():
        parameter.data = parameter.data * 3
    assert not torch.allclose(network.item_vectors(), before)


def network_of_lightgcn(kernel, features):
    graph = kernel.create("blueprint", "zoo/lightgcn").architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0))
    return build_network(graph, features.schema, kernel, arrays).attach(Entities(features))


def test_inputs_of_the_whole_catalogue_move_with_the_network(two_towers):
    network, features, _ = two_towers
    name = network.attach(Entities(features)).entity_names(network.architecture.nodes)[0]
    assert network.tables.all_of(network, name) is network.tables.all_of(network, name), "read once"
    assert network.tables.all_of(network.to("meta"), name).device.type == "meta"
