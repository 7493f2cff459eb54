from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import ContractError, DataError, UnknownNameError, UsageError
from autorec_kernel.evaluation import DEFAULT_METRICS, METRICS, default_metric, evaluate_rows, parse_metric, rows

_spec = importlib.util.spec_from_file_location("evaluation_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

cases = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def drawn(rng):
    size = int(rng.integers(1, 40))
    return rng.integers(0, 2, size), rng.integers(0, int(rng.integers(1, 9)), size).astype(np.float32), rng.integers(0, 5, size)


@pytest.mark.parametrize("seed", range(10))
def test_auc_equals_the_double_loop_in_a_thousand_cases_with_ties(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        labels, scores, _ = drawn(rng)
        assert rows.auc(labels, scores) == oracle.auc(labels.tolist(), scores.tolist())


@settings(max_examples=100, deadline=None)
@given(cases)
def test_gauc_is_the_impression_weighted_mean_of_the_users_aucs(rng):
    labels, scores, users = drawn(rng)
    weighted, impressions, left_out = 0.0, 0, 0
    for user in set(users.tolist()):
        own = oracle.auc(labels[users == user].tolist(), scores[users == user].tolist())
        left_out += own is None
        weighted += 0.0 if own is None else own * (users == user).sum()
        impressions += 0 if own is None else (users == user).sum()
    result = evaluate_rows(["gauc"], labels, scores, users)
    assert result.values["gauc"] == (pytest.approx(weighted / impressions) if impressions else None)
    assert result.counts["left_out"] == left_out


@settings(max_examples=100, deadline=None)
@given(cases)
def test_auc_of_the_opposite_scores_is_the_complement(rng):
    labels, scores, _ = drawn(rng)
    found = rows.auc(labels, scores)
    opposite = rows.auc(labels, -scores)
    assert (found is None and opposite is None) or found + opposite == pytest.approx(1.0, abs=1e-15)


def test_auc_of_one_class_is_undefined():
    assert rows.auc(np.ones(3), np.arange(3)) is None
    assert rows.auc(np.zeros(0), np.zeros(0)) is None
    assert rows.gauc(np.ones(2), np.arange(2), np.array([1, 2])) is None


def test_constant_scores_have_auc_one_half():
    assert rows.auc(np.array([0, 1, 1, 0]), np.zeros(4)) == 0.5


def test_a_nan_score_is_below_every_number():
    assert rows.auc(np.array([0, 1]), np.array([np.nan, -np.inf])) == 1.0
    assert rows.auc(np.array([1, 0]), np.array([np.nan, -np.inf])) == 0.0
    assert rows.auc(np.array([1, 0]), np.array([np.nan, np.nan])) == 0.5


def test_row_metrics_equal_a_second_library():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    given_scores = np.round(rng.random(500), 2) * 0.98 + 0.01
    stars = rng.integers(1, 6, 500)
    assert rows.auc(labels, given_scores) == pytest.approx(metrics.roc_auc_score(labels, given_scores), abs=1e-12)
    assert rows.log_loss(labels, given_scores) == pytest.approx(metrics.log_loss(labels, given_scores), abs=1e-12)
    assert rows.rmse(stars, given_scores) == pytest.approx(metrics.root_mean_squared_error(stars, given_scores), abs=1e-12)
    assert rows.mae(stars, given_scores) == pytest.approx(metrics.mean_absolute_error(stars, given_scores), abs=1e-12)


def test_average_precision_equals_a_second_library_on_full_lists():
    metrics = pytest.importorskip("sklearn.metrics")
    from autorec_kernel.evaluation import evaluate_scores

    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, relevant = rng.standard_normal((1, 40)), np.sort(rng.choice(np.arange(1, 40), 6, replace=False))
        found = evaluate_scores(["map@39"], np.arange(1), scores, (np.array([0, 6]), relevant)).mean()["map@39"]
        labels = np.isin(np.arange(1, 40), relevant)
        assert found == pytest.approx(metrics.average_precision_score(labels, scores[0, 1:]), abs=1e-12)


def test_log_loss_is_finite_at_certainty():
    assert rows.log_loss(np.array([1, 0]), np.array([0.0, 1.0])) == pytest.approx(-math.log(1e-15))
    assert rows.log_loss(np.array([1, 0]), np.array([1.0, 0.0])) == 0.0


@pytest.mark.parametrize("given_value", [-0.1, 1.1, np.inf])
def test_log_loss_refuses_what_is_no_probability(given_value):
    with pytest.raises(ContractError, match="probabilities"):
        rows.log_loss(np.array([1]), np.array([given_value]))


def test_labels_other_than_zero_and_one_are_refused():
    with pytest.raises(DataError, match="0 or 1"):
        rows.auc(np.array([1, 5]), np.array([0.1, 0.2]))


def test_predictions_of_another_length_are_refused():
    with pytest.raises(ContractError, match="3 rows"):
        rows.rmse(np.zeros(3), np.zeros(2))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_rmse_is_at_least_the_mean_absolute_error(pairs):
    labels, values = np.array(pairs).T
    assert rows.rmse(labels, values) >= rows.mae(labels, values) * (1 - 1e-12) - 1e-150


def test_single_precision_predictions_are_compared_in_double():
    assert rows.mae(np.array([16777217.0]), np.array([16777216.0], dtype=np.float32)) == 1.0


def test_evaluated_rows_carry_the_contributions_that_pairs_are_compared_by():
    labels, given_scores = np.array([1, 0, 1]), np.array([0.9, 0.2, 0.4])
    result = evaluate_rows(["auc", "log_loss", "rmse", "mae"], labels, given_scores)
    assert set(result.contributions) == {"log_loss", "rmse", "mae"}
    assert result.values["rmse"] == math.sqrt(result.contributions["rmse"].mean())
    assert result.values["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
    assert result.values["auc"] == 1.0
    assert result.counts == {"rows": 3, "nan_scores": 0}


def test_a_nan_prediction_is_counted_and_written_as_null():
    result = evaluate_rows(["rmse"], np.ones(2), np.array([1.0, np.nan]))
    assert result.counts["nan_scores"] == 1
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["metrics"] == {"rmse": None}


def test_no_rows_have_no_metric():
    assert evaluate_rows(["rmse", "log_loss", "auc"], np.zeros(0), np.zeros(0)).values == {"rmse": None, "log_loss": None, "auc": None}


def test_gauc_without_users_is_refused():
    with pytest.raises(UsageError, match="user of every row"):
        evaluate_rows(["gauc"], np.zeros(1), np.zeros(1))


def test_a_ranking_metric_is_refused_on_rows():
    with pytest.raises(UsageError, match="ranked lists"):
        evaluate_rows(["ndcg@10"], np.zeros(1), np.zeros(1))


def test_every_task_has_a_default_metric_that_exists_and_fits_it():
    for task, name in DEFAULT_METRICS.items():
        info, _ = parse_metric(name)
        assert task in info.tasks
        assert default_metric(task) == name


def test_losses_are_the_metrics_where_less_is_better():
    assert {name for name, info in METRICS.items() if not info.higher_is_better} == {"log_loss", "rmse", "mae"}


def test_an_unknown_metric_or_task_offers_the_nearest_name():
    with pytest.raises(UnknownNameError, match="ndcg"):
        parse_metric("ndgc@10")
    with pytest.raises(UnknownNameError, match="recommend"):
        default_metric("recomend")


def test_a_cutoff_on_a_row_metric_is_refused():
    with pytest.raises(UsageError, match="takes no cutoff"):
        parse_metric("auc@10")
