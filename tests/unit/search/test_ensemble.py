"""Greedy ensemble selection: complementary trials share the weight, noise gets none, and luck on few users little."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.search.ensemble import ensemble_weights

ROWS, USERS = 2000, 100


def squared(label: np.ndarray):  # type: ignore[no-untyped-def]
    return lambda rows, mean: -float(((label[rows] - mean) ** 2).mean())


def drawn(seed: int = 0) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=ROWS), np.repeat(np.arange(USERS), ROWS // USERS)


def test_two_trials_whose_errors_differ_share_the_weight_and_noise_gets_none() -> None:
    rng, label, users = drawn()
    error = rng.normal(size=ROWS)
    predictions = np.stack([label + error, label - error, rng.normal(size=ROWS)])
    weights = ensemble_weights(predictions, squared(label), users, np.random.default_rng(1))
    assert weights == pytest.approx([0.5, 0.5, 0.0])


def test_weights_are_those_of_an_exhaustive_search_where_one_bag_sees_nearly_all() -> None:
    rng, label, users = drawn(2)
    predictions = np.stack([label + scale * rng.normal(size=ROWS) for scale in (1.0, 1.5, 2.0)])
    weights = ensemble_weights(predictions, squared(label), users, np.random.default_rng(3), bags=20, steps=40)
    inverse = 1 / np.array([1.0, 1.5, 2.0]) ** 2  # the best weights of independent errors
    assert weights == pytest.approx(inverse / inverse.sum(), abs=0.06)


def test_the_mean_of_the_ensemble_is_no_worse_than_the_best_trial_on_rows_it_has_not_seen() -> None:
    rng, label, users = drawn(4)
    predictions = np.stack([label + rng.normal(size=ROWS) for _ in range(6)])
    known = users < 50
    weights = ensemble_weights(predictions[:, known], squared(label[known]), users[known], np.random.default_rng(5))
    errors = ((predictions[:, ~known] - label[~known]) ** 2).mean(axis=1)
    assert ((weights @ predictions[:, ~known] - label[~known]) ** 2).mean() < 0.4 * errors.min()
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_a_trial_that_is_lucky_on_one_user_weighs_little() -> None:
    rng, label, users = drawn(6)
    lucky = np.where(users == 0, label, label + 3 * rng.normal(size=ROWS))
    weights = ensemble_weights(np.stack([label + rng.normal(size=ROWS), lucky]), squared(label), users, np.random.default_rng(7))
    assert weights[1] < 0.2


def test_a_trial_without_a_merit_is_never_taken_and_the_draw_decides_alone() -> None:
    _, label, users = drawn(8)
    predictions = np.stack([np.full(ROWS, np.nan), label, label])
    weights = ensemble_weights(predictions, squared(label), users, np.random.default_rng(9))
    assert weights.tolist() == [0.0, 1.0, 0.0]  # the first of equals
    again = ensemble_weights(predictions, squared(label), users, np.random.default_rng(9))
    assert np.array_equal(weights, again)
