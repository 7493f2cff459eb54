from __future__ import annotations

import json
import math

import numpy as np
import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import bootstrap_interval, compare_auc, compare_rmse, intervals, paired_comparison, rows


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_of_a_normal_sample_is_close_to_the_textbook():
    values = rng().normal(3.0, 2.0, 2000)
    found = bootstrap_interval(values, rng(1))
    error = values.std(ddof=1) / math.sqrt(2000)
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered = sum(
        found.low <= 0.1 <= found.high
        for seed in range(200)
        for found in [bootstrap_interval(rng(seed).random(300) < 0.1, rng(seed + 1000), resamples=500)]
    )
    assert 180 <= covered <= 199


def test_a_seed_fixes_every_digit():
    first, second = rng().random(50), rng(1).random(50)
    assert paired_comparison(first, second, rng(7)) == paired_comparison(first, second, rng(7))
    assert paired_comparison(first, second, rng(7)) != paired_comparison(first, second, rng(8))


def test_pairing_removes_what_users_have_in_common():
    hard = rng().random(400)
    found = paired_comparison(hard + 0.01 + rng(1).normal(0, 0.01, 400), hard, rng(2))
    assert found.above
    assert found.low < 0.01 < found.high
    assert found.standard_error < 0.001 < bootstrap_interval(hard, rng(2)).standard_error


def test_exchanging_the_two_turns_the_sign():
    first, second = rng().random(60), rng(1).random(60)
    forth, back = paired_comparison(first, second, rng(3)), paired_comparison(second, first, rng(3))
    assert back.difference == pytest.approx(-forth.difference)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1e-3)


def test_equal_vectors_are_a_tie():
    found = paired_comparison(np.arange(5.0), np.arange(5.0), rng())
    assert (found.difference, found.low, found.high, found.standard_error) == (0, 0, 0, 0)
    assert found.tie
    assert not found.above
    assert not found.below


def test_one_user_proves_nothing():
    found = paired_comparison(np.array([1.0]), np.array([0.0]), rng())
    assert (found.low, found.high, found.standard_error) == (-math.inf, math.inf, math.inf)
    assert found.tie
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == {
        "difference": 1.0, "low": None, "high": None, "standard_error": None, "n": 1
    }  # fmt: skip


def test_the_large_sample_shortcut_agrees_with_resampling(monkeypatch):
    first, second = rng().random(3000), rng(1).random(3000)
    resampled = paired_comparison(first, second, rng(2))
    monkeypatch.setattr(intervals, "_LARGE", 100)
    quick = paired_comparison(first, second, rng(2))
    assert quick.difference == resampled.difference
    assert (quick.low, quick.high) == pytest.approx((resampled.low, resampled.high), abs=0.1 * quick.standard_error)


def test_weights_count_as_repeated_users_do_in_the_mean():
    values, weights = np.array([1.0, 0.0, 0.5]), np.array([3.0, 1.0, 0.0])
    assert bootstrap_interval(values, rng(), weights=weights).mean == 0.75


def test_the_error_of_a_weighted_mean_is_that_of_resampling():
    values, weights = rng().random(500), rng(1).integers(1, 50, 500)
    found = bootstrap_interval(values, rng(2), weights=weights)
    assert found.standard_error == pytest.approx((found.high - found.low) / 3.92, rel=0.1)


def test_equal_weights_change_nothing():
    values = rng().random(40)
    plain, weighted = bootstrap_interval(values, rng(1)), bootstrap_interval(values, rng(1), weights=np.full(40, 2.0))
    assert weighted.standard_error == pytest.approx(plain.standard_error)
    assert (weighted.low, weighted.high) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([], []), ([np.nan], [1.0]), ([np.inf], [1.0])])
def test_vectors_that_cannot_be_paired_are_refused(first, second):
    with pytest.raises(UsageError):
        paired_comparison(np.array(first), np.array(second), rng())


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(UsageError):
        bootstrap_interval(np.array([1.0, 2.0]), rng(), weights=np.array(weights))


def test_rmse_is_compared_in_its_own_unit():
    labels = rng().normal(0, 1, 800)
    near, far = labels + rng(1).normal(0, 0.8, 800), labels + rng(2).normal(0, 1.0, 800)
    errors = rows.squared_errors(labels, near), rows.squared_errors(labels, far)
    found = compare_rmse(*errors, rng(3))
    assert found.difference == pytest.approx(rows.rmse(labels, near) - rows.rmse(labels, far))
    assert found.below
    assert found.standard_error == pytest.approx((found.high - found.low) / 3.92, rel=0.1)


def test_perfect_predictions_have_a_comparison():
    assert compare_rmse(np.zeros(9), np.zeros(9), rng()).difference == 0


def clicks(size=600):
    labels = rng().integers(0, 2, size)
    return labels, labels + rng(1).normal(0, 1.0, size), labels + rng(2).normal(0, 2.0, size)


def test_auc_is_compared_by_the_difference_of_the_two():
    labels, near, far = clicks()
    found = compare_auc(labels, near, far, rng(3))
    assert found.difference == pytest.approx(rows.auc(labels, near) - rows.auc(labels, far))
    assert found.above
    assert found.standard_error == pytest.approx((found.high - found.low) / 3.92, rel=0.15)


def test_the_large_sample_shortcut_of_auc_agrees_with_resampling(monkeypatch):
    labels, near, far = clicks()
    resampled = compare_auc(labels, near, far, rng(3))
    monkeypatch.setattr(intervals, "_LARGE_AUC", 100)
    quick = compare_auc(labels, near, far, rng(3))
    assert (quick.low, quick.high) == pytest.approx((resampled.low, resampled.high), abs=0.2 * quick.standard_error)


def test_rows_of_one_user_are_not_independent():
    labels, near, far = (np.repeat(part, 10) for part in clicks(200))
    by_row = compare_auc(labels, near, far, rng(3), resamples=300)
    by_user = compare_auc(labels, near, far, rng(3), users=np.repeat(np.arange(200), 10), resamples=300)
    once = compare_auc(*clicks(200), rng(3))
    assert by_user.n == 200
    assert by_user.standard_error == pytest.approx(once.standard_error, rel=0.02)
    assert by_user.high - by_user.low > 2 * (by_row.high - by_row.low)


def test_resampled_auc_equals_the_auc_of_the_repeated_rows():
    from autorec_kernel.evaluation._auc import AucSample

    labels, scores = rng().integers(0, 2, 40), rng(1).integers(0, 5, 40).astype(float)
    weights = rng(2).integers(0, 4, 40)
    repeated = np.repeat(np.arange(40), weights)
    assert AucSample.prepare(labels, scores).resampled(weights) == rows.auc(labels[repeated], scores[repeated])


def test_auc_of_one_class_has_no_comparison():
    assert compare_auc(np.ones(4), np.arange(4.0), np.arange(4.0), rng()) is None


def test_a_single_positive_proves_nothing():
    found = compare_auc(np.array([1, 0, 0]), np.array([3.0, 2, 1]), np.array([1.0, 2, 3]), rng())
    assert found.difference == 1.0
    assert not found.above
    assert found.tie


def test_rows_of_a_single_user_prove_nothing():
    labels, near, far = clicks(50)
    found = compare_auc(labels, near, far, rng(), users=np.zeros(50))
    assert found.n == 1
    assert found.standard_error == math.inf
    assert not found.above


def test_the_influence_of_a_row_is_the_slope_of_auc_in_its_weight_with_ties_present():
    from autorec_kernel.evaluation._auc import AucSample

    labels, scores = rng().integers(0, 2, 30), rng(1).integers(0, 4, 30).astype(float)
    sample, copies = AucSample.prepare(labels, scores), 10**5
    for row, moved in enumerate(sample.influence()):
        weights = np.full(30, copies)
        weights[row] += 1
        assert (sample.resampled(weights) - sample.value) * copies == pytest.approx(moved, abs=1e-5)
