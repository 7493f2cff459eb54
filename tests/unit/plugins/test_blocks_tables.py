from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.combine import AppendOne, Lookup, Product
from autorec_blocks.normalise import Activate, Normalise
from autorec_blocks.propagate import Propagate
from autorec_blocks.tables import FreeTable, JoinTables, StackTables, TableRow, TableRows, TableScores
from autorec_blocks.variational import Bag, Reparameterise
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build, example_interactions


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vector(width, **more):
    return TensorSpec("vector", width=width, **more)


def table(rows, width, axis="item"):
    return TensorSpec("table", axis, rows=rows, width=width)


def test_the_unknown_row_of_a_free_table_is_the_mean_of_the_others():
    module = build(FreeTable(FreeTable.Config(rows=5, width=3)), [])
    found = module()
    assert found.shape == (5, 3)
    assert torch.allclose(found[0], found[1:].mean(0), atol=1e-7)
    assert [tuple(p.shape) for p in module.parameters()] == [(4, 3)]


def test_a_free_table_starts_at_its_scale():
    assert build(FreeTable(FreeTable.Config(rows=2000, width=8, initial_scale=0.01)), [])().std().item() == pytest.approx(0.01, rel=0.05)
    assert not build(FreeTable(FreeTable.Config(rows=4, width=2, initial_scale=0.0)), [])().any()


def test_tables_are_stacked_and_joined():
    upper, lower = drawn(3, 2), drawn(4, 2, seed=1)
    assert StackTables(StackTables.Config()).output([table(3, 2), table(4, 2)]).rows == 7
    assert torch.equal(build(StackTables(StackTables.Config()), [table(3, 2), table(4, 2)])(upper, lower), torch.cat([upper, lower]))
    bias = drawn(3, 1, seed=2)
    assert JoinTables(JoinTables.Config()).output([table(3, 2), table(3, 1)]).width == 3
    assert torch.equal(build(JoinTables(JoinTables.Config()), [table(3, 2), table(3, 1)])(upper, bias), torch.cat([upper, bias], 1))


@pytest.mark.parametrize(("block", "other"), [(StackTables, table(4, 3)), (JoinTables, table(4, 2))])
def test_tables_that_do_not_fit_are_refused(block, other):
    with pytest.raises(ContractError, match="must have"):
        block(block.Config()).output([table(3, 2), other])


def test_a_range_of_rows_knows_its_bounds():
    whole = drawn(6, 2)
    rest = TableRows(TableRows.Config(side="item", first=2))
    assert rest.output([table(6, 2, "row")]) == table(4, 2)
    assert torch.equal(build(rest, [table(6, 2, "row")])(whole), whole[2:])
    assert torch.equal(build(TableRows(TableRows.Config(side="user", count=2)), [table(6, 2, "row")])(whole), whole[:2])
    with pytest.raises(ContractError, match="do not exist"):
        TableRows(TableRows.Config(first=5, count=2)).output([table(6, 2)])


def test_one_index_gives_a_row_and_several_give_fields():
    rows = drawn(5, 2)
    assert torch.equal(build(TableRow(TableRow.Config()), [table(5, 2), vector(1, index=True)])(rows, torch.tensor([4, 0])), rows[[4, 0]])
    several = TensorSpec("fields", fields=2, index=True)
    index = torch.tensor([[1, 2], [0, 4]])
    assert Lookup(Lookup.Config()).output([table(5, 2), several]) == TensorSpec("fields", fields=2, width=2)
    assert torch.equal(build(Lookup(Lookup.Config()), [table(5, 2), several])(rows, index), rows[index])
    with pytest.raises(ContractError, match="row index"):
        TableRow(TableRow.Config()).output([table(5, 2), vector(2)])


@pytest.mark.parametrize(("name", "function"), [("identity", lambda x: x), ("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh)])
def test_table_scores_are_a_scaled_function_of_inner_products(name, function):
    block = TableScores(TableScores.Config(activation=name, scale=4.0, shift=1.0))
    x, w = drawn(3, 2).numpy(), drawn(5, 2, seed=1).numpy()
    expected = np.array([[1 + 4 * function(sum(x[a, d] * w[n, d] for d in range(2))) for n in range(5)] for a in range(3)])
    found = build(block, [vector(2), table(5, 2)])(torch.from_numpy(x), torch.from_numpy(w))
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_a_one_behind_a_vector_adds_the_last_column_as_bias():
    x, w, b = drawn(3, 2), drawn(5, 2, seed=1), drawn(5, 1, seed=2)
    longer = build(AppendOne(AppendOne.Config()), [vector(2)])(x)
    joined = build(JoinTables(JoinTables.Config()), [table(5, 2), table(5, 1)])(w, b)
    assert torch.allclose(longer @ joined.T, x @ w.T + b.T, atol=1e-6)


def test_a_product_is_element_wise_or_an_inner_product():
    x, y = drawn(4, 3), drawn(4, 3, seed=1)
    assert torch.equal(build(Product(Product.Config()), [vector(3), vector(3)])(x, y), x * y)
    inner = build(Product(Product.Config(reduce=True)), [vector(3), vector(3)])(x, y)
    assert torch.allclose(inner[:, 0], torch.stack([torch.dot(a, b) for a, b in zip(x, y, strict=True)]), atol=1e-6)
    with pytest.raises(ContractError, match="one width"):
        Product(Product.Config()).output([vector(3), vector(2)])


def test_normalised_vectors_have_the_length_of_the_inverse_temperature():
    module = build(Normalise(Normalise.Config(temperature=0.5)), [vector(3)])
    x = drawn(4, 3) * torch.tensor([[1e-2], [1.0], [30.0], [0.0]])
    found = module(x)
    assert torch.allclose(found.norm(dim=1), torch.tensor([2.0, 2.0, 2.0, 0.0]), atol=1e-5)
    assert torch.allclose(found[:3] / 2, x[:3] / x[:3].norm(dim=1, keepdim=True), atol=1e-6)


def test_activate_shifts_before_and_scales_after_the_function():
    module = build(Activate(Activate.Config(activation="sigmoid", scale=4.0, shift=1.0)), [vector(2)])
    with torch.no_grad():
        module.bias.copy_(torch.tensor([0.5, -1.0]))
    x = drawn(3, 2)
    assert torch.allclose(module(x), 1 + 4 * torch.sigmoid(x + torch.tensor([0.5, -1.0])))
    assert not list(build(Activate(Activate.Config(bias=False)), [vector(2)]).parameters())


def bag_of(history, rows, **config):
    mask = history != 0
    specs = [TensorSpec("sequence", index=True, rows=len(rows)), table(*rows.shape)]
    return build(Bag(Bag.Config(**config)), specs)((history, mask), rows)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_bag_is_the_product_with_a_scaled_multi_hot_vector(power):
    rows, history = drawn(6, 3), torch.tensor([[1, 2, 5, 0], [3, 0, 0, 0], [0, 0, 0, 0], [4, 4, 1, 2]])
    hot = np.zeros((4, 6), np.float32)
    for a in range(4):
        for item in history[a].tolist():
            hot[a, item] += item > 0
    counts = np.maximum(hot.sum(1, keepdims=True), 1)
    assert np.allclose(bag_of(history, rows, power=power).numpy(), (hot / counts**power) @ rows.numpy(), atol=1e-5)


def test_a_bag_of_the_newest_steps_forgets_the_older_ones():
    rows, history = drawn(6, 3), torch.tensor([[1, 2, 5, 0], [3, 0, 0, 0]])
    found = bag_of(history, rows, power=1.0, newest=2)
    assert torch.allclose(found, torch.stack([(rows[2] + rows[5]) / 2, rows[3]]), atol=1e-6)


def test_dropped_steps_leave_the_expected_bag_alone():
    rows = drawn(6, 3)
    history, specs = torch.tensor([[1, 2, 5, 3]]), [TensorSpec("sequence", index=True, rows=6), table(6, 3)]
    module = build(Bag(Bag.Config(dropout=0.5)), specs)
    assert torch.equal(module.eval()((history, history != 0), rows), module((history, history != 0), rows))
    module.train()
    torch.manual_seed(0)
    many = history.repeat(4000, 1)
    draws = module((many, many != 0), rows)
    assert draws.std(0).min() > 0.05
    assert torch.allclose(draws.mean(0), module.eval()((history, history != 0), rows)[0], atol=0.06)


def test_a_code_is_its_mean_in_serving_and_spreads_in_training():
    module = build(Reparameterise(Reparameterise.Config()), [vector(2), vector(2)])
    mean, log = torch.tensor([[1.0, -2.0]]).repeat(20_000, 1), torch.log(torch.tensor([[4.0, 0.25]])).repeat(20_000, 1)
    assert torch.equal(module.eval()(mean, log), mean)
    torch.manual_seed(0)
    found = module.train()(mean, log)
    assert torch.allclose(found.mean(0), mean[0], atol=0.05)
    assert torch.allclose(found.std(0), torch.tensor([2.0, 0.5]), atol=0.05)


def dense_graph():
    events = example_interactions()
    ratings = np.zeros((events.users, events.item_count))
    for user in range(events.users):
        ratings[user, events.of(user)] = 1.0
    nodes = events.users + events.item_count
    graph = np.zeros((nodes, nodes))
    graph[: events.users, events.users :] = ratings
    graph[events.users :, : events.users] = ratings.T
    degree = np.maximum(graph.sum(1), 1.0)
    return graph / np.sqrt(np.outer(degree, degree))


@pytest.mark.parametrize(("layers", "own"), [(1, True), (3, True), (2, False)])
def test_propagation_averages_the_powers_of_the_normalised_graph(layers, own):
    graph = dense_graph()
    start = drawn(len(graph), 4)
    module = build(Propagate(Propagate.Config(layers=layers, first=own)), [table(len(graph), 4, "row")])
    powers = [np.linalg.matrix_power(graph, k) @ start.numpy() for k in range(0 if own else 1, layers + 1)]
    assert np.allclose(module(start).numpy(), np.mean(powers, 0), atol=1e-5)


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_table_of_one_side_is_smoothed_over_two_steps_of_the_graph(side):
    events, graph = example_interactions(), dense_graph()
    part = slice(0, events.users) if side == "user" else slice(events.users, None)
    start = drawn(len(graph[part]), 4)
    module = build(Propagate(Propagate.Config(layers=2)), [table(len(start), 4, side)])
    step = (graph @ graph)[part, part]
    assert np.allclose(module(start).numpy(), (start.numpy() + step @ start.numpy() + step @ step @ start.numpy()) / 3, atol=1e-5)


def test_the_gradient_of_propagation_is_that_of_the_dense_product():
    graph = torch.from_numpy(dense_graph()).float()
    start, weights = drawn(len(graph), 4).requires_grad_(), drawn(len(graph), 4, seed=1)
    module = build(Propagate(Propagate.Config(layers=2)), [table(len(graph), 4, "row")])
    (found,) = torch.autograd.grad((module(start) * weights).sum(), start)
    (expected,) = torch.autograd.grad((((start + graph @ start + graph @ graph @ start) / 3) * weights).sum(), start)
    assert torch.allclose(found, expected, atol=1e-5)


def test_propagation_refuses_a_table_without_a_row_for_every_node():
    with pytest.raises(ContractError, match="stacked above items"):
        Propagate(Propagate.Config()).solve([table(7, 4, "row")], {"interactions": example_interactions()}, np.random.default_rng(0))
