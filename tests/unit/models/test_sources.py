from __future__ import annotations

import pytest
import torch

from autorec_kernel.errors import ContractError, UnknownNameError
from autorec_kernel.models.sources import EmbeddingStore, source_spec
from autorec_kernel.records.architecture import Node

pytestmark = pytest.mark.plugins

FIELDS = Node("fields", "@fields", config={"columns": ["user_id", "item_id", "device", "genres"], "width": 4})
SUM = Node("sum", "blocks/sum-fields", ("fields",))
SCORE = Node("score", "blocks/head", ("sum",), {"tasks": ["rating"]})


def history(name, length=0, **config):
    return Node(name, "@history", config={"columns": ["history"], "length": length, **config})


def test_each_field_is_its_own_row_of_the_store_and_a_bag_the_mean_of_its_rows(network_of, batch):
    network = network_of(FIELDS, SUM, SCORE, outputs={"rating": "score"})
    fields = network(batch)["fields"]
    table = network.stores["4"].table
    assert torch.equal(fields[:, 0], table("user")[batch["user_id"]])
    assert torch.equal(fields[:, 1], table("item")[batch["item_id"]])
    assert torch.equal(fields[:, 2], table("device")[batch["device"]])
    assert torch.allclose(fields[2, 3], table("genres")[[4, 1, 2]].mean(0))
    assert torch.allclose(fields[0, 3], table("genres")[[1, 2]].mean(0))
    assert torch.equal(fields[3, 3], torch.zeros(4))


def test_all_single_valued_fields_of_one_source_cost_one_lookup(network_of, batch, monkeypatch):
    single = Node("fields", "@fields", config={"columns": ["user_id", "item_id", "device"], "width": 4})
    network = network_of(single, SUM, SCORE, outputs={"rating": "score"})
    calls = []
    lookup = EmbeddingStore.lookup
    monkeypatch.setattr(EmbeddingStore, "lookup", lambda self, ids: calls.append(ids.shape) or lookup(self, ids))
    network(batch)
    assert calls == [(4, 3)]


def test_history_candidate_and_item_table_of_one_width_are_the_same_parameter(network_of, batch):
    nodes = (
        history("history", width=4),
        Node("candidate", "@candidate", config={"columns": ["item_id"], "width": 4}),
        Node("items", "@table", config={"table": "item", "width": 4}),
        Node("user", "blocks/pool", ("history",)),
    )
    network = network_of(*nodes, outputs={"user": "user", "item": "items"})
    assert list(network.stores) == ["4"]
    assert len(list(network.parameters())) == 1
    assert all(network.parts[f"n_{name}"].store is network.stores["4"] for name in ("history", "candidate", "items"))
    values = network.run(network.architecture.nodes, batch, {})
    assert torch.equal(values["history"][0][0], values["items"][[1, 2, 3, 4]])
    assert torch.equal(values["candidate"], values["items"][batch["item_id"]])


def test_a_tag_or_another_width_makes_other_parameters(network_of):
    nodes = (
        FIELDS,
        Node("wide", "@fields", config={"columns": ["user_id"], "width": 1}),
        Node("other", "@fields", config={"columns": ["user_id"], "width": 4, "tag": "b"}),
        SUM,
        Node("score", "blocks/head", ("sum", "wide", "other"), {"tasks": ["rating"]}),
    )
    network = network_of(*nodes, outputs={"rating": "score"})
    assert set(network.stores) == {"1", "4"}
    assert network.stores["4"].ranges["user#b"][0] != network.stores["4"].ranges["user"][0]
    assert network.stores["4"].weight.shape[0] == 7 + 9 + 4 + 5 + 7


def test_unknown_rows_settle_at_the_mean_of_the_known_ones():
    store = EmbeddingStore({"a": 3, "b": 4}, 2)
    with torch.no_grad():
        store.weight.copy_(torch.arange(14.0).reshape(7, 2))
    store.met.add("b")
    store.settle_unknown()
    assert store.table("a")[0].tolist() == [3.0, 4.0]
    assert store.table("a")[1:].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert store.table("b")[0].tolist() == [6.0, 7.0]


def test_padded_steps_of_a_history_are_zeros_and_masked(network_of, batch):
    nodes = (history("history", width=4), Node("user", "blocks/pool", ("history",)), *_items())
    network = network_of(*nodes, outputs={"user": "user", "item": "items"})
    steps, mask = network(batch)["history"]
    assert mask.tolist() == [[True] * 4, [True, False, False, False], [True, True, False, False], [False] * 4]
    assert not steps[~mask].any()


def test_a_source_that_reads_less_than_another_sees_the_newest_steps(network_of, batch):
    nodes = (
        history("long", 4, width=4),
        history("short", 2, index=True),
        Node("long_user", "blocks/pool", ("long",)),
        *_items(),
    )
    network = network_of(*nodes, outputs={"user": "long_user", "item": "items"})
    assert network.lengths == {"history": 4}
    ids, mask = network.run(network.architecture.nodes, batch, {})["short"]
    assert ids.tolist() == [[3, 4], [5, 0], [7, 8], [0, 0]]
    assert torch.equal(mask, ids != 0)
    assert network(batch)["long"][0].shape == (4, 4, 4)


def test_a_source_that_reads_more_steps_than_the_batch_holds_is_padded(network_of):
    nodes = (history("all", 0, width=4), history("short", 3, index=True), Node("user", "blocks/pool", ("all",)), *_items())
    network = network_of(*nodes, outputs={"user": "user", "item": "items"})
    assert network.lengths == {"history": 0}
    batch = {"history": torch.tensor([[5, 6], [7, 0]])}
    assert network.run(network.architecture.nodes, batch, {})["short"][0].tolist() == [
        [5, 6, 0],
        [7, 0, 0],
    ]


def test_numbers_stand_side_by_side_and_a_constant_is_one(network_of, batch):
    nodes = (
        Node("numbers", "@numeric", config={"columns": ["price"]}),
        Node("one", "@constant", config={"columns": ["user_id"]}),
        Node("all", "blocks/concat", ("numbers", "one")),
        Node("score", "blocks/head", ("all",), {"tasks": ["rating"]}),
    )
    values = network_of(*nodes, outputs={"rating": "score"})(batch)
    assert torch.equal(values["all"], torch.cat([batch["price"], torch.ones(4, 1)], 1))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("x", "@fields", config={"columns": ["price"]}), "needs id or bag columns"),
        (Node("x", "@numeric", config={"columns": ["user_id"]}), "needs numeric columns"),
        (Node("x", "@history", config={"columns": ["user_id"]}), "needs history columns"),
        (Node("x", "@fields", config={"columns": []}), "got none"),
        (Node("x", "@fields", config={"columns": ["user_id", "genres"], "index": True}), "bags"),
    ],
)
def test_a_source_names_the_columns_it_cannot_read(schema, node, message):
    with pytest.raises(ContractError, match=message):
        source_spec(node, schema, "row")


def test_unknown_sources_columns_and_tables_are_named(schema):
    for node in (Node("x", "@feilds"), Node("x", "@fields", config={"columns": ["usr_id"]}), Node("x", "@table", config={"table": "itme"})):
        with pytest.raises(UnknownNameError):
            source_spec(node, schema, "row")


def _items():
    return (Node("items", "@table", config={"table": "item", "width": 4}),)


def test_a_history_longer_than_a_source_reads_is_cut_to_the_newest_steps(network_of):
    nodes = (history("past", 3, width=4), Node("user", "blocks/pool", ("past",)), *_items())
    network = network_of(*nodes, outputs={"user": "user", "item": "items"}).eval()
    long, short = torch.tensor([[9, 8, 7, 1, 2, 3], [5, 6, 0, 0, 0, 0]]), torch.tensor([[1, 2, 3], [5, 6, 0]])
    assert torch.equal(network.serve(long)[0], network.serve(short)[0])
    assert network({"history": long})["past"][1].shape == (2, 3)


def test_steps_that_have_a_target_each_are_not_cut(network_of):
    nodes = (history("past", 3, index=True), Node("seen", "@history", config={"columns": ["history"], "length": 3, "width": 4}))
    network = network_of(*nodes, Node("user", "blocks/pool", ("seen",)), *_items(), outputs={"user": "user", "item": "items"})
    ids = torch.tensor([[9, 8, 7, 1]])
    assert network.run(nodes[:1], {"history": ids, "@target": ids}, {})["past"][0].tolist() == ids.tolist()


@pytest.mark.parametrize("target", [False, True])
def test_a_history_without_a_step_is_one_of_padding(network_of, target):
    nodes = [history("past", 3, width=4), Node("user", "blocks/pool", ("past",)), *_items()]
    nodes += [Node("wanted", "@target", config={"index": True})] if target else []
    network = network_of(*nodes, outputs={"user": "user", "item": "items"}).eval()
    none, padding = torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
    assert torch.equal(network.serve(none)[0], network.serve(padding)[0])
    values = network.run(network.architecture.nodes, {"history": none, "@target": none}, {})
    assert all(values[name][0].shape[1] == 1 for name in (["past", "wanted"] if target else ["past"]))
