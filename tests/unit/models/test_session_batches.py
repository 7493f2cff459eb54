from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import build_network
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.memory import RESET
from autorec_kernel.models.session_batches import SessionBatches
from autorec_kernel.records.architecture import Architecture, Node

pytestmark = pytest.mark.plugins


def carried(features, steps):
    """A state that adds up what came: the sum of the step's items + the previous state."""
    schema = features.schema
    history = next(feature for feature in schema.features if feature.kind == "history")
    nodes = (
        Node("history", "@history", config={"columns": [history.name], "width": 3, "steps": steps}),
        Node("now", "blocks/pool", ("history",), {"mode": "sum"}),
        Node("state", "blocks/add", ("now", "~state")),
        Node("items", "@table", config={"table": history.vocabulary, "width": 3}),
        Node("target", "@target", config={"index": True}),
        Node("by_step", "blocks/softmax-loss", ("history", "items", "target")),
        Node("loss", "blocks/masked-mse-loss", ("state", "now")),
    )
    return history.name, Architecture(nodes, {"user": "state", "item": "items"}, "session")


@pytest.fixture
def session(kernel, features_of):
    features = features_of("recommend")

    def make(steps):
        name, graph = carried(features, steps)
        return build_network(graph, features.schema, kernel, seed=1), features, name

    return make


def transitions(features):
    events = features.interactions
    return sorted((int(a), int(b)) for user in range(events.users) for a, b in zip(events.of(user)[:-1], events.of(user)[1:], strict=True))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("slots", [3, 1000])
def test_every_transition_of_every_session_comes_once(session, steps, slots):
    network, features, name = session(steps)
    found = []
    for batch in SessionBatches(network, features, slots).epoch(np.random.default_rng(0)):
        assert batch[name].shape[1] == steps
        real = batch[name] > 0
        assert torch.equal(real, batch["@target"] > 0)
        found += zip(batch[name][real].tolist(), batch["@target"][real].tolist(), strict=True)
    assert sorted(found) == transitions(features)


def test_a_slot_walks_through_one_session_and_says_where_the_next_begins(session):
    network, features, name = session(1)
    events = features.interactions
    sessions = {tuple(events.of(user)[:-1].tolist()) for user in range(events.users) if len(events.of(user)) > 1}
    slots: list[list[list[int]]] = [[] for _ in range(3)]
    for batch in SessionBatches(network, features, 3).epoch(np.random.default_rng(0)):
        for slot, begins, item in zip(slots, batch[RESET].tolist(), batch[name][:, 0].tolist(), strict=True):
            if begins:
                slot.append([])
            if item:
                slot[-1].append(item)
    found = [tuple(one) for slot in slots for one in slot if one]
    assert sorted(found) == sorted(sessions)


def test_the_state_is_carried_inside_a_session_and_is_zeros_where_one_begins(session):
    network, _, name = session(1)
    network.train()

    def step(items, begins):
        column = torch.tensor(items)[:, None]
        return network({name: column, RESET: torch.tensor(begins), "@target": column})

    first = step([1, 2], [True, True])
    assert torch.equal(first["state"], first["now"])
    second = step([3, 4], [False, True])
    assert torch.allclose(second["state"][0], first["now"][0] + second["now"][0])
    assert torch.equal(second["state"][1], second["now"][1])
    third = step([5, 6], [False, False])
    assert torch.allclose(third["state"][1], second["now"][1] + third["now"][1])


def test_no_gradient_reaches_the_step_before(session):
    network, _, name = session(1)
    network.train()
    for begins in (True, False):
        column = torch.tensor([[1 if begins else 2]])
        values = network({name: column, RESET: torch.tensor([begins]), "@target": column})
    values["state"].sum().backward()
    grad = network.stores["3"].weight.grad
    assert grad[2].abs().sum() > 0
    assert not grad[1].any()


def test_serving_reads_the_whole_history_from_a_state_of_zeros(session):
    network, _, name = session(1)
    network.eval()
    items = torch.tensor([[1, 2, 3]])
    (state,) = network.serve(items)
    rows = network.item_vectors()[items[0]]
    assert network.inputs == (name,)
    assert torch.allclose(state[0], rows.sum(0), atol=1e-6)


def test_a_previous_step_that_does_not_exist_is_refused():
    with pytest.raises(ContractError, match="do not exist"):
        Architecture((Node("a", "blocks/add", ("~b",)),), {"user": "a"})


def test_only_vectors_of_rows_have_a_previous_step(kernel, features_of):
    features = features_of("recommend")
    nodes = (
        Node("user", "@fields", config={"columns": [features.schema.user], "width": 3}),
        Node("state", "blocks/add", ("user", "~user")),
    )
    with pytest.raises(ContractError, match="only a vector"):
        build_network(Architecture(nodes, {"user": "state"}), features.schema, kernel)


@pytest.mark.parametrize(("size", "slots"), [(80, 10), (64, 8), (1, 8)])
def test_a_session_counts_as_eight_rows(session, size, slots):
    network, features, _ = session(4)
    assert batches_for(network, features, size).slots == slots
