from __future__ import annotations

import numpy as np
import pytest

from autorec_blocks.counts import ItemCounts
from autorec_blocks.directed import DirectedWeights, pair_cells
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions


def histories(users=40, items=15, seed=0, mean=7.0):
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[0], rng.poisson(mean, users - 1)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    chosen = (1 + np.minimum(rng.geometric(3.0 / items, offsets[-1]), items - 1) - 1).astype(np.int32)
    return Interactions(offsets, chosen, np.ones(offsets[-1], np.float32), users, items, True)


def pairs(history, decay):
    found = np.zeros((history.item_count, history.item_count))
    for user in range(history.users):
        row = history.of(user)
        for early in range(len(row)):
            for late in range(early + 1, len(row)):
                found[row[early], row[late]] += decay ** (late - early)
    return found


def solve(block, history):
    return block.solve((), {"interactions": history}, np.random.default_rng(0))


def table_of(arrays, items):
    table = np.zeros((items, items))
    for row in range(items):
        np.add.at(table[row], arrays["ids"][row], arrays["weights"][row])
    return table


@pytest.mark.parametrize("decay", [0.5, 0.8, 0.95])
def test_pairs_fade_with_the_steps_between_and_only_later_items_count(decay):
    history = histories()
    found = np.zeros((15, 15))
    for source, later, weight in pair_cells(history, decay):
        np.add.at(found, (source, later), weight)
    assert np.abs(found - pairs(history, decay)).max() < 2e-3 * max(1.0, pairs(history, decay).max())


def test_pairs_do_not_depend_on_how_events_are_cut_into_blocks(monkeypatch):
    history = histories(users=60, items=30)
    whole = solve(DirectedWeights(DirectedWeights.Config(rows=30)), history)["values"]
    monkeypatch.setattr("autorec_blocks.directed._CELLS", 40)
    monkeypatch.setattr("autorec_blocks.directed._EVENT_ROWS", 7)
    assert np.allclose(solve(DirectedWeights(DirectedWeights.Config(rows=30)), history)["values"], whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("decay", [0.6, 0.8])
def test_the_directed_form_is_the_ridge_regression_of_the_next_item_on_the_faded_history(decay):
    history, items, penalty = histories(), 15, 20.0
    faded, following = [], []
    for user in range(history.users):
        state = np.zeros(items)
        for item in history.of(user):
            faded.append(state.copy())
            following.append(np.eye(items)[item])
            state = decay * (state + np.eye(items)[item])
        for _ in range(200):  # nothing follows the last event, and the history goes on fading
            faded.append(state.copy())
            following.append(np.zeros(items))
            state = decay * state
    x, y = np.array(faded), np.array(following)
    scale = decay**2 / (1 - decay**2)
    expected = np.linalg.solve(x.T @ x + penalty * scale * np.eye(items), x.T @ y)
    config = DirectedWeights.Config(rows=items, regularisation=penalty, decay=decay, backward=0.0)
    found = solve(DirectedWeights(config), history)["values"]
    assert np.abs(found / scale - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("backward", [0.0, 0.4])
def test_the_directed_form_solves_the_dense_system(backward):
    history, items = histories(users=300, items=60), 60
    config = DirectedWeights.Config(rows=items, regularisation=5.0, decay=0.7, backward=backward)
    found = solve(DirectedWeights(config), history)["values"]
    together = pairs(history, 0.7)
    counts = np.bincount(history.items, minlength=items)
    expected = np.linalg.solve(together + together.T + np.diag(counts + 5.0), together + backward * together.T)
    assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max()


def test_items_left_out_of_the_system_are_related_one_by_one_in_both_directions():
    history, items, size = histories(users=200, items=40), 40, 12
    config = DirectedWeights.Config(rows=items, regularisation=5.0, decay=0.7, backward=0.3, frequent=size)
    block = DirectedWeights(config)
    found = table_of(solve(block, history), items)
    assert block.output(()) == TensorSpec("table", "item", width=items, rows=items, neighbours=True)
    counts, together = np.bincount(history.items, minlength=items), pairs(history, 0.7)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:size])
    wanted = together + 0.3 * together.T
    expected = wanted / (2 * np.diag(together) + counts + 5.0)[:, None]
    own = np.ix_(chosen, chosen)
    expected[own] = np.linalg.solve((together + together.T + np.diag(counts + 5.0))[own], wanted[own])
    assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max()


def test_without_room_the_weights_of_largest_size_are_kept_wherever_they_come_from():
    history, items = histories(users=200, items=40), 40
    options = {"rows": items, "regularisation": 5.0, "frequent": 12}
    whole = table_of(solve(DirectedWeights(DirectedWeights.Config(**options)), history), items)
    block = DirectedWeights(DirectedWeights.Config(**options, megabytes=8 * items * 6 / 1e6))
    arrays = solve(block, history)
    assert arrays["ids"].shape == arrays["weights"].shape == (items, block.output(()).width) == (items, 6)
    largest = np.sort(np.abs(whole), 1)[:, ::-1][:, :6]
    assert np.allclose(np.sort(np.abs(arrays["weights"]), 1)[:, ::-1], largest, atol=1e-6)
    kept = table_of(arrays, items)
    assert np.allclose(kept[kept != 0], whole[kept != 0], atol=1e-6)


@pytest.mark.parametrize("lengths", [[0, 0, 0], [0, 1, 1]])
def test_histories_without_pairs_predict_nothing(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    history = Interactions(offsets, np.ones(offsets[-1], np.int32), np.ones(offsets[-1], np.float32), 3, 4, True)
    assert not solve(DirectedWeights(DirectedWeights.Config(rows=4)), history)["values"].any()


def test_the_time_told_follows_the_system_and_its_limit():
    schema = FeatureSchema(users=20_000, items=40_000, events=10**6)
    whole, part = DirectedWeights(DirectedWeights.Config()), DirectedWeights(DirectedWeights.Config(frequent=3000))
    assert part.seconds((), schema) < 0.01 * whole.seconds((), schema)
    assert part.seconds((), schema) > DirectedWeights(DirectedWeights.Config(frequent=300)).seconds((), schema)


def test_events_count_half_after_a_half_life_and_a_missing_time_counts_as_the_oldest():
    times = np.array([0, 60, 100, MISSING_TIME], np.int64)
    history = Interactions(np.array([0, 0, 2, 4]), np.array([1, 2, 3, 4], np.int32), np.ones(4, np.float32), 3, 5, True, times)
    values = solve(ItemCounts(ItemCounts.Config(rows=5, half_life=0.4)), history)["values"][:, 0]
    assert np.allclose(np.expm1(values), [0, 0.5**2.5, 0.5, 1.0, 0.5**2.5], atol=1e-6)


def test_without_a_common_time_events_age_by_what_their_user_chose_since():
    history = Interactions(np.array([0, 0, 4, 5]), np.array([1, 2, 3, 4, 4], np.int32), np.ones(5, np.float32), 3, 5, True)
    values = solve(ItemCounts(ItemCounts.Config(rows=5, half_life=0.25)), history)["values"][:, 0]
    assert np.allclose(np.expm1(values), [0, 0.125, 0.25, 0.5, 2.0], atol=1e-6)
