from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.counts import BiasTable, ItemCounts
from autorec_blocks.ease import Ease
from autorec_blocks.neighbours import ItemSimilarity, NeighbourScores, binary_matrix, top_cells, top_neighbours
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.testing.block_cases import build


def interactions(users, items, seed=0, mean=6.0):
    """Return histories with repeats, in no order of item; user 0 and item 0 have none, and the last item is never chosen."""
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[0], rng.poisson(mean, users - 1)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    chosen = (1 + np.minimum(rng.geometric(4.0 / items, offsets[-1]), items - 2) - 1).astype(np.int32)
    return Interactions(offsets, chosen, rng.normal(3, 1, offsets[-1]).astype(np.float32), users, items, True)


def dense(history):
    matrix = np.zeros((history.users, history.item_count))
    matrix[np.repeat(np.arange(history.users), np.diff(history.offsets)), history.items] = 1.0
    return matrix


def solve(block, history):
    return block.solve((), {"interactions": history}, np.random.default_rng(0))


def spread(arrays, items):
    table = np.zeros((items, items))
    for row in range(items):
        np.add.at(table[row], arrays["ids"][row], arrays["weights"][row])
    return table


def textbook_ease(matrix, penalty):
    inverse = np.linalg.inv(matrix.T @ matrix + penalty * np.eye(matrix.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def test_a_matrix_counts_pairs_once_and_leaves_the_history_as_it_was():
    history = interactions(40, 12)
    before = history.items.copy()
    assert np.array_equal(binary_matrix(history).toarray(), dense(history))
    assert np.array_equal(history.items, before)
    assert len(before) > dense(history).sum()


@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (40, 40)])
@pytest.mark.parametrize("penalty", [1.0, 200.0])
def test_ease_is_the_textbook_formula_from_either_side(shape, penalty):
    history = interactions(*shape)
    found = solve(Ease(Ease.Config(rows=shape[1], regularisation=penalty)), history)["values"]
    expected = textbook_ease(dense(history), penalty)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max() + 1e-6
    assert not np.diag(found).any()


@pytest.mark.parametrize("shape", [(700, 530), (530, 700)])
def test_ease_is_the_textbook_formula_across_blocks(shape):
    history = interactions(*shape, mean=12.0)
    expected = textbook_ease(dense(history), 50.0)
    found = solve(Ease(Ease.Config(rows=shape[1], regularisation=50.0)), history)["values"]
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(60, 25), (25, 60)])
def test_without_room_ease_keeps_the_weights_of_largest_size(shape):
    items = shape[1]
    history = interactions(*shape)
    block = Ease(Ease.Config(rows=items, megabytes=8 * items * 5 / 1e6))
    arrays = solve(block, history)
    assert block.output(()) == TensorSpec("table", "item", width=5, rows=items, neighbours=True)
    assert arrays["ids"].shape == arrays["weights"].shape == (items, 5)
    expected = textbook_ease(dense(history), 200.0)
    kept = spread(arrays, items)
    assert np.abs(kept[kept != 0] - expected[kept != 0]).max() < 1e-5
    assert np.allclose(np.sort(np.abs(arrays["weights"]), 1), np.sort(np.abs(expected), 1)[:, -5:], atol=1e-6)


@pytest.mark.parametrize("shape", [(80, 30), (20, 30)])
@pytest.mark.parametrize("kept", [4, 20])
def test_ease_on_frequent_items_solves_those_and_leaves_the_rest_their_cosines(shape, kept):
    items, history = shape[1], interactions(*shape)
    block = Ease(Ease.Config(rows=items, regularisation=5.0, frequent=10, megabytes=8 * items * kept / 1e6))
    arrays = solve(block, history)
    assert block.output(()) == TensorSpec("table", "item", width=kept, rows=items, neighbours=True)
    counts = dense(history).sum(0)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:10])
    expected = textbook_ease(dense(history)[:, chosen], 5.0)
    table = spread(arrays, items)
    for place, item in enumerate(chosen):
        size = np.sort(np.abs(expected[place]))[::-1][: min(kept, 10)]
        assert np.allclose(np.sort(np.abs(table[item]))[::-1][: len(size)], size, atol=1e-5)
        assert set(np.flatnonzero(table[item])) <= set(chosen)
    cosines = spread(solve(ItemSimilarity(ItemSimilarity.Config(rows=items, neighbours=kept)), history), items)
    rest = np.setdiff1d(np.arange(items), chosen)
    assert np.allclose(table[rest], cosines[rest])


def test_a_penalty_too_small_for_the_numbers_is_told():
    history = Interactions(np.array([0, 2], np.int64), np.array([1, 1], np.int32), np.ones(2, np.float32), 1, 2, True)
    with pytest.raises(ArithmeticError, match="larger one"):
        solve(Ease(Ease.Config(rows=2, regularisation=1e-300)), history)


def cosines(matrix, shrinkage):
    together = matrix.T @ matrix
    norms = np.sqrt(np.diag(together))
    found = together / (norms[:, None] * norms + shrinkage)
    np.fill_diagonal(found, 0.0)
    return found


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(3, 10.0), (100, 0.1)])
def test_item_neighbours_are_the_largest_shrunken_cosines_ties_by_item(neighbours, shrinkage):
    history = interactions(300, 90)
    block = ItemSimilarity(ItemSimilarity.Config(rows=90, neighbours=neighbours, shrinkage=shrinkage))
    arrays = solve(block, history)
    width = min(neighbours, 90)
    assert arrays["ids"].shape == arrays["weights"].shape == (90, width)
    assert block.output(()).width == width
    expected = cosines(dense(history), shrinkage).astype(np.float32)
    for row in range(90):
        order = np.lexsort((np.arange(90), -expected[row]))[:width]
        order = order[expected[row][order] > 0]
        assert arrays["ids"][row, : len(order)].tolist() == order.tolist()
        assert np.allclose(arrays["weights"][row, : len(order)], expected[row][order], rtol=1e-6)
        assert not arrays["weights"][row, len(order) :].any()


def test_item_neighbours_do_not_depend_on_how_the_items_are_cut_into_blocks(monkeypatch):
    history = interactions(300, 600, mean=20.0)
    block = ItemSimilarity(ItemSimilarity.Config(rows=600, neighbours=20))
    whole = solve(block, history)
    monkeypatch.setattr("autorec_blocks.neighbours._CELLS", 500)
    parts = solve(block, history)
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_the_largest_cells_of_each_row_come_first():
    row, item = np.array([0, 2, 2, 2, 2]), np.array([7, 1, 9, 3, 2], np.int32)
    ids, weights = top_cells(row, item, np.array([0.5, 1e-30, 0.25, 3.5, 0.25], np.float32), 3, 3)
    assert ids.tolist() == [[7, 0, 0], [0, 0, 0], [3, 2, 9]]
    assert weights.tolist() == [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [3.5, 0.25, 0.25]]


def test_the_largest_by_size_are_kept_in_the_order_of_items():
    ids, weights = top_neighbours(np.array([[0.1, -5.0, 2.0, 0.0]], np.float32), 2)
    assert ids.tolist() == [[1, 2]]
    assert weights.tolist() == [[-5.0, 2.0]]


@pytest.mark.parametrize("decay", [1.0, 0.8])
def test_neighbour_scores_add_the_rows_of_a_history_that_fades(decay):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(9, 9)).astype(np.float32)
    histories = [[1, 2, 3, 2], [8], [], [5, 4]]
    ids = torch.tensor([h + [0] * (6 - len(h)) for h in histories])
    expected = np.zeros((4, 9))
    for row, history in enumerate(histories):
        for age, item in enumerate(reversed(history)):
            expected[row] += decay**age * table[item]
    specs = TensorSpec("sequence", index=True, rows=9), TensorSpec("table", "item", rows=9, width=9)
    block = NeighbourScores(NeighbourScores.Config(decay=decay))
    assert np.allclose(build(block, specs)((ids, ids != 0), torch.from_numpy(table)).numpy(), expected, atol=1e-5)
    near = np.argsort(rng.random((9, 9)), 1).astype(np.int32)
    sparse = torch.from_numpy(near), torch.from_numpy(np.take_along_axis(table, near, 1))
    specs = specs[0], TensorSpec("table", "item", rows=9, width=9, neighbours=True)
    assert np.allclose(build(block, specs)((ids, ids != 0), sparse).numpy(), expected, atol=1e-5)


def test_neighbour_scores_refuse_embedded_histories_and_tables_that_are_not_square():
    block = NeighbourScores(NeighbourScores.Config())
    square, index = TensorSpec("table", "item", rows=9, width=9), TensorSpec("sequence", index=True)
    for specs in ((TensorSpec("sequence", width=4), square), (index, TensorSpec("table", "item", rows=9, width=4))):
        with pytest.raises(ContractError):
            block.output(specs)


def test_counts_order_items_by_their_events():
    history = interactions(60, 20)
    values = solve(ItemCounts(ItemCounts.Config(rows=20)), history)["values"]
    counts = np.bincount(history.items, minlength=20)
    assert np.allclose(values[:, 0], np.log1p(counts))
    assert values[0] == 0.0


def test_biases_are_where_the_two_closed_forms_meet():
    history = interactions(60, 20)
    config = {"item_shrinkage": 3.0, "user_shrinkage": 7.0, "sweeps": 200}
    item, user = (
        solve(BiasTable(BiasTable.Config(side=side, rows=rows, **config)), history)["values"][:, 0].astype(float)
        for side, rows in (("item", 20), ("user", 60))
    )
    owners = np.repeat(np.arange(60), np.diff(history.offsets))
    rest = history.values - history.values.astype(float).mean()
    for rows, own, other, shrinkage in ((history.items, item, user[owners], 3.0), (owners, user, item[history.items], 7.0)):
        for row in range(len(own)):
            mine = rows == row
            assert own[row] == pytest.approx((rest - other)[mine].sum() / (mine.sum() + shrinkage), abs=1e-5)


@pytest.mark.parametrize("side", ["item", "user"])
def test_one_sweep_takes_items_first_and_users_on_what_is_left(side):
    history = Interactions(np.array([0, 0, 2, 3]), np.array([1, 2, 1], np.int32), np.array([5.0, 3.0, 4.0], np.float32), 3, 3, True)
    block = BiasTable(BiasTable.Config(side=side, rows=3, item_shrinkage=1.0, user_shrinkage=1.0, sweeps=1))
    item = np.array([0.0, 1.0 / 3, -0.5])  # deviations 1, -1, 0 from the mean 4
    user = np.array([0.0, (1 - item[1] + -1 - item[2]) / 3, (0 - item[1]) / 2])
    assert np.allclose(solve(block, history)["values"][:, 0], item if side == "item" else user, atol=1e-6)


def test_the_time_of_a_closed_form_follows_the_size_of_its_system():
    def schema(users, items, events):
        return FeatureSchema(users=users, items=items, events=events)

    ease, part = Ease(Ease.Config()), Ease(Ease.Config(frequent=1000))
    knn = ItemSimilarity(ItemSimilarity.Config())
    assert ease.seconds((), schema(1000, 20_000, 10**5)) < 0.1 * ease.seconds((), schema(20_000, 20_000, 10**5))
    assert part.seconds((), schema(50_000, 50_000, 10**6)) < 0.01 * ease.seconds((), schema(50_000, 50_000, 10**6))
    assert part.seconds((), schema(50_000, 50_000, 10**6)) > knn.seconds((), schema(50_000, 50_000, 10**6))
    assert knn.seconds((), schema(50_000, 43_000, 500_000)) < 2
    assert knn.seconds((), schema(6000, 3700, 10**6)) > knn.seconds((), schema(6000, 3700, 10**5))
