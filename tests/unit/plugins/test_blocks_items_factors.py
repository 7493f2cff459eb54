from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.als import AlsItems, FoldIn
from autorec_blocks.slim import Slim
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions

HISTORY, TABLE = TensorSpec("sequence", index=True, rows=30), TensorSpec("table", "item", rows=30, width=4)


def histories(users=80, items=30, seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[0], rng.poisson(6, users - 1)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    chosen = (1 + np.minimum(rng.geometric(3.0 / items, offsets[-1]), items - 1) - 1).astype(np.int32)
    return Interactions(offsets, chosen, np.ones(offsets[-1], np.float32), users, items, True)


def dense(history):
    matrix = np.zeros((history.users, history.item_count))
    matrix[np.repeat(np.arange(history.users), np.diff(history.offsets)), history.items] = 1.0
    return matrix


def solve(block, history, seed=0):
    return block.solve((), {"interactions": history}, np.random.default_rng(seed))


def descended(gram, l1, l2, sweeps):
    weights = np.zeros_like(gram)
    for _ in range(sweeps):
        for target in range(len(gram)):
            for own in range(len(gram)):
                others = gram[own] @ weights[:, target] - gram[own, own] * weights[own, target]
                weights[own, target] = max(0.0, gram[own, target] - others - l1) / (gram[own, own] + l2) if own != target else 0.0
    return weights


@pytest.mark.parametrize("sweeps", [1, 3])
@pytest.mark.parametrize("cut", [False, True])
def test_slim_takes_the_textbook_steps_however_the_work_is_cut(monkeypatch, sweeps, cut):
    if cut:
        monkeypatch.setattr("autorec_blocks.slim._COLUMNS", 11)
        monkeypatch.setattr("autorec_blocks.slim._GROUP", 7)
    history = histories()
    found = solve(Slim(Slim.Config(rows=30, l1=0.5, l2=2.0, sweeps=sweeps, tolerance=1e-9)), history)["values"]
    matrix = dense(history)
    assert np.allclose(found, descended(matrix.T @ matrix, 0.5, 2.0, sweeps), atol=1e-5)


def test_slim_ends_where_no_coordinate_can_improve_the_objective():
    history, l1, l2 = histories(), 0.7, 3.0
    weights = solve(Slim(Slim.Config(rows=30, l1=l1, l2=l2, sweeps=200, tolerance=1e-7)), history)["values"].astype(float)
    matrix = dense(history)
    slope = matrix.T @ (matrix @ weights - matrix) + l2 * weights + l1
    off = ~np.eye(30, dtype=bool)
    assert (weights >= 0).all() and not np.diag(weights).any()
    assert np.abs(slope[off & (weights > 0)]).max() < 1e-3
    assert slope[off & (weights == 0)].min() > -1e-3
    assert 0.02 < (weights[off] > 0).mean() < 0.9


def test_slim_on_frequent_items_keeps_cosines_for_the_rest():
    history = histories(items=30)
    block = Slim(Slim.Config(rows=30, l1=0.5, l2=2.0, frequent=10, sweeps=2))
    arrays = solve(block, history)
    matrix = dense(history)
    chosen = np.sort(np.argsort(-matrix.sum(0), kind="stable")[:10])
    expected = descended(matrix[:, chosen].T @ matrix[:, chosen], 0.5, 2.0, 2)
    assert block.output(()).neighbours
    for place, item in enumerate(chosen):
        row = np.zeros(30)
        np.add.at(row, arrays["ids"][item], arrays["weights"][item])
        assert np.allclose(row[chosen], expected[place], atol=1e-5)
        assert not np.delete(row, chosen).any()
    rest = np.setdiff1d(np.flatnonzero(matrix.sum(0)), chosen)
    assert arrays["weights"][rest].any(1).all()


def test_least_squares_alternate_between_weighted_systems_of_users_and_items():
    history, width, penalty, confidence = histories(), 4, 3.0, 6.0
    config = AlsItems.Config(rows=30, width=width, regularisation=penalty, confidence=confidence, sweeps=3)
    found = solve(AlsItems(config), history, seed=5)["values"]
    matrix = dense(history)
    items = np.random.default_rng(5).normal(0.0, 0.1 / np.sqrt(width), (30, width))

    def half(chosen, fixed):
        factors = []
        for row in chosen:
            weight = 1 + confidence * row
            factors.append(np.linalg.solve((fixed.T * weight) @ fixed + penalty * np.eye(width), fixed.T @ (weight * row)))
        return np.array(factors)

    for _ in range(3):
        users = half(matrix, items)
        items = half(matrix.T, users)
    white = np.linalg.solve(np.linalg.cholesky(items.T @ items + penalty * np.eye(width)), items.T).T
    assert np.allclose(found @ found.T, white @ white.T, atol=1e-3)
    known = half(matrix, items) @ items.T  # what the model scores for its own users
    history_rows = torch.zeros(80, 30, dtype=torch.int64)
    for user in range(80):
        own = np.unique(history.of(user))
        history_rows[user, : len(own)] = torch.from_numpy(own.astype(np.int64))
    module = FoldIn(FoldIn.Config(confidence=confidence, iterations=8)).build((HISTORY, TABLE), {})
    folded = module((history_rows, history_rows != 0), torch.from_numpy(found)).numpy() @ found.T
    assert np.abs(folded - known).max() < 2e-3 * max(1.0, np.abs(known).max())


@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_a_folded_in_user_solves_the_ridge_system_of_a_fading_history(decay):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(30, 4)).astype(np.float32)
    rows = [[3, 7, 7, 1], [9], [], [2, 4, 6, 8, 10]]
    ids = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
    module = FoldIn(FoldIn.Config(confidence=5.0, decay=decay, iterations=6)).build((HISTORY, TABLE), {})
    found = module((ids, ids != 0), torch.from_numpy(table)).numpy()
    for place, row in enumerate(rows):
        weights, items = decay ** np.arange(len(row))[::-1], table[np.array(row, int)].astype(float)
        system = np.eye(4) + 5.0 * (items.T * weights) @ items
        assert np.allclose(found[place], np.linalg.solve(system, 6.0 * items.T @ weights), atol=1e-3)


def test_a_fold_in_refuses_embedded_histories_and_tables_without_vectors():
    block, neighbours = FoldIn(FoldIn.Config()), TensorSpec("table", "item", rows=30, neighbours=True)
    for specs in ((TensorSpec("sequence", width=4), TABLE), (HISTORY, neighbours)):
        with pytest.raises(ContractError):
            block.output(specs)


def test_the_time_told_follows_the_size():
    small, large = FeatureSchema(users=100, items=100, events=1000), FeatureSchema(users=10_000, items=3000, events=10**6)
    for block in (Slim(Slim.Config()), AlsItems(AlsItems.Config())):
        assert block.seconds((), large) > 20 * block.seconds((), small)
    assert Slim(Slim.Config(frequent=300)).seconds((), large) < Slim(Slim.Config()).seconds((), large)
